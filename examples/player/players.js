// Real players, told to report in CMCD version 2: each to a URL that holds the session's token.
//
// Changes of state and of rate, errors and new bitrates are reported when they happen; heartbeats
// (t) come every HEARTBEAT_S. A buffer of a few seconds makes a stalled network be seen soon.

const HEARTBEAT_S = 5;
const BUFFER_S = 4;
const EVENTS = ["ps", "pr", "c", "b", "bc", "e", "t"];
const KEYS = ["bg", "br", "bs", "cid", "e", "ec", "pr", "pt", "sf", "sid", "sn", "st", "sta", "ts", "v"];

// A whole URL, since dash.js cannot report on a request whose URL is relative.
const film = (name) => new URL(`stream/${name}`, location).href;

export const PLAYERS = {
  dash(video, { session, content, reports }) {
    const player = dashjs.MediaPlayer().create();
    player.updateSettings({
      streaming: {
        buffer: { bufferTimeDefault: BUFFER_S, bufferTimeAtTopQuality: BUFFER_S, bufferTimeAtTopQualityLongForm: BUFFER_S },
        cmcd: {
          enabled: true,
          version: 2,
          sid: session,
          cid: content,
          eventTargets: [{ url: reports, events: EVENTS, interval: HEARTBEAT_S, enabledKeys: KEYS }],
        },
      },
    });
    player.initialize(video, film("film.mpd"), true);
    return () => player.destroy();
  },

  hls(video, { session, content, reports }) {
    const player = new Hls({
      maxBufferLength: BUFFER_S,
      maxMaxBufferLength: BUFFER_S,
      cmcd: {
        version: 2,
        sessionId: session,
        contentId: content,
        eventTargets: [{ url: reports, events: EVENTS, interval: HEARTBEAT_S, includeKeys: KEYS }],
      },
    });
    video.autoplay = true;
    player.loadSource(film("film.m3u8"));
    player.attachMedia(video);
    return () => player.destroy();
  },
};
