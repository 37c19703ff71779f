// Decodes pictures in the browser, always the newest; those that it cannot keep up with are skipped.

export class Decoder {
  // `draw(bitmap, jpeg, head)` is called with the newest picture, never with an older one later; it has to close the bitmap.
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
