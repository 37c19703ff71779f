// Decodes pictures by the browser: the newest only; what is not decoded in time is left out.

export class Decoder {
  // `draw(bitmap, jpeg, head)` is called with the newest picture, never with an older one later; the bitmap is its to close.
  constructor(draw) {
    this.draw = draw;
    this.newest = null;
    this.busy = false;
  }

  async take(picture) {
    this.newest = picture;
    if (this.busy) return;
    this.busy = true;
    while (this.newest) {
      const { jpeg, head } = this.newest;
      this.newest = null;
      try {
        this.draw(await createImageBitmap(jpeg), jpeg, head);
      } catch (error) {
        console.debug("a damaged picture", error);
      }
    }
    this.busy = false;
  }
}
