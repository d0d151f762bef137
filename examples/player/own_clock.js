// How long pictures really moved, measured without the player: from one picture on the screen to
// the next, as long as the film moved on by about as much as the clock did. So neither a seek, a
// pause nor a stall counts.

const OFF_S = 0.25; // as far as the film and the clock may be apart between two pictures

export class OwnClock {
  constructor(video) {
    this.watchedMs = 0;
    this.stretches = 0; // how often the picture began to move
    let before = null;
    let moves = false;
    const onPicture = (nowMs, { mediaTime }) => {
      if (before !== null) {
        const filmS = mediaTime - before.mediaTime;
        const clockS = (nowMs - before.nowMs) / 1000;
        const moved = filmS > 0 && Math.abs(filmS - clockS * video.playbackRate) < OFF_S;
        if (moved) this.watchedMs += nowMs - before.nowMs;
        if (moved && !moves) this.stretches += 1;
        moves = moved;
      }
      before = { mediaTime, nowMs };
      video.requestVideoFrameCallback(onPicture);
    };
    video.requestVideoFrameCallback(onPicture);
  }
}
