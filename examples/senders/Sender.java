import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * Sends usage records to a gateway: JSON lines from standard input, in batches and in order.
 *
 * <pre>
 * RATECAST_KEY=rc_... java examples/senders/Sender.java http://127.0.0.1:8080 &lt; events.ndjson
 * </pre>
 *
 * A batch is sent again until it is taken, which is harmless: nothing is ever charged twice. Only
 * then does the next one go, since the records of an account must arrive in order.
 */
public class Sender {
    static final int BATCH_RECORDS = 500;
    static final int TRIES_MAX = 10;
    static final Duration ANSWER_WAIT = Duration.ofSeconds(30);

    final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    final URI events;
    final String key;

    Sender(String gateway, String key) {
        this.events = URI.create(gateway + "/v1/events");
        this.key = key;
    }

    public static void main(String[] words) throws Exception {
        String key = System.getenv("RATECAST_KEY");
        if (words.length != 1 || key == null) {
            System.err.println("usage: RATECAST_KEY=rc_... java Sender.java GATEWAY < events.ndjson");
            System.exit(2);
        }
        Sender sender = new Sender(words[0], key);
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<String> batch = new ArrayList<>();
        long sent = 0;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            batch.add(line);
            if (batch.size() == BATCH_RECORDS) {
                sent += sender.send(batch);
            }
        }
        sent += sender.send(batch);
        System.out.println("Sent " + sent + " records.");
    }

    /** Sends a batch and empties it; returns how many records it had. */
    int send(List<String> batch) throws IOException, InterruptedException {
        if (batch.isEmpty()) {
            return 0;
        }
        HttpRequest request = HttpRequest.newBuilder(events)
                .header("Authorization", "Bearer " + key)
                .header("Content-Type", "application/x-ndjson")
                .timeout(ANSWER_WAIT)
                .POST(HttpRequest.BodyPublishers.ofString(String.join("\n", batch)))
                .build();
        for (int tried = 1; ; tried++) {
            String why;
            long waitSeconds = 1;
            try {
                HttpResponse<String> answer =
                        client.send(request, HttpResponse.BodyHandlers.ofString());
                if (answer.statusCode() < 300) {
                    int taken = batch.size();
                    batch.clear();
                    return taken;
                }
                why = answer.statusCode() + " " + answer.body();
                if (answer.statusCode() != 429 && answer.statusCode() < 500) {
                    throw new IllegalStateException("the gateway refuses the batch: " + why);
                }
                waitSeconds = answer.headers().firstValueAsLong("Retry-After").orElse(1);
            } catch (IOException lost) {
                why = lost.toString();
            }
            if (tried == TRIES_MAX) {
                throw new IOException("gave up after " + tried + " tries: " + why);
            }
            System.err.println("Trying again in " + waitSeconds + " s: " + why);
            Thread.sleep(waitSeconds * 1000);
        }
    }
}
