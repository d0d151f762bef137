# Build:  docker build -t ratecast .
# Run:    docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" ratecast \
#             rate --tariffs book.toml events.ndjson

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/ratecast
COPY requirements.txt requirements-build.txt ./
# What runs, pinned by hash; and beside it what builds the wheel, which stays behind in this stage.
RUN /opt/ratecast/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt \
    && pip install --no-cache-dir --require-hashes --requirement requirements-build.txt
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/ratecast/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.12-slim
COPY --from=build /opt/ratecast /opt/ratecast
ENV PATH=/opt/ratecast/bin:$PATH \
    RATECAST_CACHE_DIR=/var/cache/ratecast
RUN useradd --create-home ratecast \
    && install --directory --owner=ratecast /var/cache/ratecast /work
USER ratecast
# A small evening compiles all that rating needs, so that no container compiles it again. The cache
# is for the kind of processor that built the image; on another the first run compiles once more.
# Nobody but its owner may write it; whatever other user a container is given works on a copy.
RUN ratecast demo --households 50 --hours 0.5 --folder /tmp/demo \
    && rm -r /tmp/demo \
    && chmod -R go-w,a+rX /var/cache/ratecast
WORKDIR /work
# The first process of a container does not hear SIGTERM unless it asks for it, as servers do. Ctrl-C
# ends every command in good order.
STOPSIGNAL SIGINT
ENTRYPOINT ["ratecast"]
CMD ["--help"]
