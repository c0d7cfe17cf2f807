/** Lines of a body that is read as it comes. */
import { HeldBytes } from "../listen/held-bytes.ts";

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
  /** Of a line whose end is in a later piece. */
  const begun = new HeldBytes();
  let size = 0;
  const add = (part: Uint8Array): void => {
    size += part.length;
    if (size <= sizeMax) begun.add(part);
    else begun.clear();
  };
  const ended = (rest: Uint8Array): Line => {
    if (size > 0) add(rest);
    else size = rest.length;
    let bytes: Uint8Array | undefined;
    if (size <= sizeMax) bytes = begun.size > 0 ? begun.take() : rest;
    if (bytes?.at(-1) === CARRIAGE_RETURN) bytes = bytes.subarray(0, -1);
    begun.clear();
    size = 0;
    number++;
    return { number, bytes };
  };
  for await (const piece of pieces) {
    const lines: Line[] = [];
    let start = 0;
    for (let end = piece.indexOf(LINE_FEED); end >= 0; end = piece.indexOf(LINE_FEED, start)) {
      lines.push(ended(piece.subarray(start, end)));
      start = end + 1;
    }
    if (start < piece.length) add(piece.subarray(start));
    if (lines.length > 0) yield lines;
  }
  if (size > 0) yield [ended(new Uint8Array(0))];
}
