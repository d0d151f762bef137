// How long pictures really moved, measured without the player: from one picture on the screen to
// the next, as long as the film moved on by about as much as the clock did. So neither a seek, a
// pause nor a stall counts.

const OFF_S = 0.25; // as far as the film and the clock may be apart between two pictures
const STANDS_MS = 500; // no new picture for as long: it stands still

export class OwnClock {
  constructor(video) {
    this.watchedMs = 0;
    this.stretches = 0; // how often the picture began to move
    this.video = video;
    this.before = null; // the last picture: its place in the film, and when it was shown
    this.inStretch = false;
    this.awaitPicture();
  }

  // Whether the picture moves now.
  get moves() {
    return this.before !== null && performance.now() - this.before.nowMs < STANDS_MS;
  }

  awaitPicture() {
    this.video.requestVideoFrameCallback((nowMs, { mediaTime }) => {
      if (this.before !== null) this.count(mediaTime - this.before.mediaTime, nowMs - this.before.nowMs);
      this.before = { mediaTime, nowMs };
      this.awaitPicture();
    });
  }

  count(filmS, clockMs) {
    const moved = filmS > 0 && Math.abs(filmS - (clockMs / 1000) * this.video.playbackRate) < OFF_S;
    if (moved) this.watchedMs += clockMs;
    if (moved && !this.inStretch) this.stretches += 1;
    this.inStretch = moved;
  }
}
