/** Lines of a body that is read as it comes. */

export interface Line {
  /** Counted from 1. */
  number: number;
  /** Without its end; `undefined`: it is longer than may be. */
  bytes: Uint8Array | undefined;
}

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/** Splits pieces into lines of at most `sizeMax` bytes, those of a piece together. A longer one is not kept while it comes. */
export async function* linesOf(pieces: AsyncIterable<Uint8Array>, sizeMax: number): AsyncGenerator<Line[]> {
  let number = 0;
  let parts: Uint8Array[] = [];
  let size = 0;
  const add = (part: Uint8Array): void => {
    size += part.length;
    if (size <= sizeMax) parts.push(part);
    else parts = [];
  };
  const ended = (): Line => {
    let bytes: Uint8Array | undefined;
    if (size <= sizeMax) bytes = parts.length === 1 ? (parts[0] as Uint8Array) : joined(parts, size);
    if (bytes?.at(-1) === CARRIAGE_RETURN) bytes = bytes.subarray(0, -1);
    parts = [];
    size = 0;
    number++;
    return { number, bytes };
  };
  for await (const piece of pieces) {
    const lines: Line[] = [];
    let start = 0;
    for (let end = piece.indexOf(LINE_FEED); end >= 0; end = piece.indexOf(LINE_FEED, start)) {
      add(piece.subarray(start, end));
      lines.push(ended());
      start = end + 1;
    }
    if (start < piece.length) add(piece.subarray(start));
    if (lines.length > 0) yield lines;
  }
  if (size > 0) yield [ended()];
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
