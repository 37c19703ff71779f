// The square that the network looks at.

// Returns what `preprocess.roi` means: the middle as shares of width and height, the side as a share of the height.
export function regionOf(roi) {
  return typeof roi === "number" ? { x: 0.5, y: 0.5, size: roi } : roi;
}

// Returns the square in pixels, wholly inside the picture: the same sum as `Region` in openapi.json has.
export function square(roi, width, height) {
  const { x, y, size } = regionOf(roi);
  const side = Math.max(2, Math.min(Math.round(size * height), width, height));
  const at = (share, whole) => Math.min(Math.max(Math.floor(share * whole - side / 2 + 1e-6), 0), whole - side);
  return { x: at(x, width), y: at(y, height), side };
}
