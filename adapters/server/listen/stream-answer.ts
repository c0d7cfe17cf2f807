/** The body of an answer that comes as a stream: no faster than its client takes it, and no longer than the client is there. */
import type { Outflow } from "./outflow.ts";

/** How the body is marked off: its length, chunks, or the end of the connection. */
export interface Framing {
  length: number | undefined;
  isChunked: boolean;
}

export class StreamAnswer {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly outflow: Outflow;
  private isOver = false;

  constructor(body: ReadableStream<Uint8Array>, outflow: Outflow) {
    this.reader = body.getReader();
    this.outflow = outflow;
  }

  /** Sends it: whether all of it was, as it was told to be. The rest of a broken answer is told by the end of the connection alone. */
  async send({ length, isChunked }: Framing): Promise<boolean> {
    const { reader, outflow } = this;
    let size = 0;
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        const piece = next.value;
        if (this.isOver) return false;
        if (piece.length === 0) continue;
        size += piece.length;
        if (isChunked) outflow.put(`${piece.length.toString(16)}\r\n`);
        outflow.putBytes(piece);
        if (isChunked) outflow.put("\r\n");
        outflow.flush();
        if (outflow.isHigh) await outflow.left();
        if (this.isOver) return false;
      }
    } catch {
      return false;
    }
    if (this.isOver || (length !== undefined && size !== length)) return false;
    if (isChunked) outflow.put("0\r\n\r\n");
    return true;
  }

  /** The client has gone: whoever makes the stream is told so, though it may have nothing to say for long. */
  cancel(): void {
    this.isOver = true;
    this.reader.cancel().catch(() => {});
  }
}
