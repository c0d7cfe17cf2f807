/**
 * Bulk load: records as lines of JSON, stored while they come.
 *
 * Lines are stored in their order, and many share one sync. The next ones are read when those are on stable storage, so that a
 * client which sends faster than the disk writes is held back.
 */
import { failureOf, ServerFailure } from "../failure.ts";
import { mediaType } from "./accept.ts";
import { jsonAnswer } from "./answers.ts";
import { objectOf, piecesOf } from "./body.ts";
import type { Call } from "./call.ts";
import { linesOf } from "./lines.ts";
import { keyMember, valueMember, writeOptionsOf } from "./members.ts";
import { NDJSON_TYPE } from "./ranges.ts";

/** Failures that an answer lists. */
const FAILURES_MAX = 1000;
/** Lines, and bytes of them, that wait for one sync. */
const BATCH_COUNT = 1024;
const BATCH_SIZE = 1_048_576;

interface Failure {
  line: number;
  status: number;
  error: string;
}

/** `POST /records` */
export async function postRecords(call: Call): Promise<Response> {
  const type = mediaType(call.header("content-type"));
  if (type !== NDJSON_TYPE && type !== "application/jsonl") {
    throw new ServerFailure(415, `Send one record as JSON a line, with the content type ${NDJSON_TYPE}.`);
  }
  const load = new Load(call);
  for await (const lines of linesOf(piecesOf(call), call.rest.settings.bodyBytes)) {
    for (const { number, bytes } of lines) {
      load.take(number, bytes);
      if (load.isFull) await load.settle();
    }
    await load.settle();
  }
  return load.answer();
}

class Load {
  private readonly call: Call;
  private readonly failures: Failure[] = [];
  private failed = 0;
  private stored = 0;
  private batch: Promise<void>[] = [];
  private batchSize = 0;

  constructor(call: Call) {
    this.call = call;
  }

  get isFull(): boolean {
    return this.batch.length >= BATCH_COUNT || this.batchSize >= BATCH_SIZE;
  }

  /** Stores what a line holds. `undefined`: it was too long. */
  take(line: number, bytes: Uint8Array | undefined): void {
    if (bytes === undefined) {
      this.note(line, new ServerFailure(413, `The line has more than ${this.call.rest.settings.bodyBytes} bytes.`));
      return;
    }
    if (isBlank(bytes)) return;
    this.batchSize += bytes.length;
    try {
      const done = this.put(bytes).then(
        () => {
          this.stored++;
        },
        (error: unknown) => this.note(line, error),
      );
      this.batch.push(done);
    } catch (error) {
      this.note(line, error);
    }
  }

  /** Resolves when all lines so far are on stable storage, or have failed. */
  async settle(): Promise<void> {
    const { batch } = this;
    this.batch = [];
    this.batchSize = 0;
    await Promise.all(batch);
  }

  answer(): Response {
    const { stored, failed, failures } = this;
    const status = failed === 0 ? 200 : stored === 0 ? 400 : 207;
    failures.sort((a, b) => a.line - b.line);
    const first = failures[0];
    const text =
      first === undefined ? undefined : `${failed} lines were not stored; line ${first.line}: ${first.error}`;
    const success = failed === 0;
    return jsonAnswer(status, JSON.stringify({ success, stored, failed, failures, error: text, message: text }));
  }

  private put(bytes: Uint8Array): Promise<unknown> {
    const { call } = this;
    const members = objectOf(bytes);
    const key = keyMember(members);
    call.allow("write", key);
    return call.operations.put(key, valueMember(members), writeOptionsOf(call, members));
  }

  private note(line: number, error: unknown): void {
    this.failed++;
    if (this.failures.length >= FAILURES_MAX) return;
    const { status, message } = failureOf(error);
    this.failures.push({ line, status, error: message });
  }
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
