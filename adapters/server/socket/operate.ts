/** What HPKV's requests do: rights first, then a tenant's operations, then the reply. */
import { ServerFailure } from "../failure.ts";
import type { Operations, ServedWriteOptions } from "../operations.ts";
import { type Principal, shownOf, type Verb } from "../principal.ts";
import type { SocketSettings } from "./context.ts";
import { doneReply, rangeReply, recordReply, sumReply } from "./reply.ts";
import {
  ATOMIC,
  type Bytes,
  DELETE,
  endsOf,
  type Fields,
  GET,
  givenValueOf,
  incrementOf,
  keyOf,
  limitOf,
  PATCH,
  RANGE,
  SET,
  timestampOf,
} from "./request.ts";

/** What a range's reply holds at most, in bytes and as JSON in characters: HPKV's clients take little more. */
const RANGE_SIZE_MAX = 1_000_000;
const RECORD_OVERHEAD = 24;

/** The requests of one principal. */
export class Requests {
  private readonly principal: Principal;
  private readonly operations: Operations;
  private readonly settings: SocketSettings;
  private readonly onDenied: (verb: Verb, key: Bytes) => void;

  /** `onDenied` is told what was refused for want of a right. */
  constructor(
    principal: Principal,
    operations: Operations,
    settings: SocketSettings,
    onDenied: (verb: Verb, key: Bytes) => void,
  ) {
    this.principal = principal;
    this.operations = operations;
    this.settings = settings;
    this.onDenied = onDenied;
  }

  /**
   * Does what a frame asks for; its reply, or a promise of it where that waits for the disk. What the request may change is
   * changed when this returns. Throws, or rejects with, what `failureOf` makes a refusal of. `text` is the frame, `id` the member of
   * the reply.
   */
  run(fields: Fields, text: string, id: string): string | Promise<string> {
    switch (fields.op) {
      case GET:
        return this.get(fields, id);
      case SET:
        return this.set(fields, id);
      case PATCH:
        return this.patch(fields, id);
      case DELETE:
        return this.delete(fields, id);
      case RANGE:
        return this.range(fields, id);
      case ATOMIC:
        return this.add(fields, text, id);
      default:
        throw new ServerFailure(
          400,
          "op must be a number: 1 (get), 2 (set), 3 (patch), 4 (delete), 5 (range) or 6 (atomic).",
        );
    }
  }

  private get(fields: Fields, id: string): string | Promise<string> {
    const key = this.allowedKey("read", fields);
    const found = this.operations.get(key);
    if (!(found instanceof Promise)) return foundReply(id, key, found);
    return found.then((value) => foundReply(id, key, value));
  }

  private async set(fields: Fields, id: string): Promise<string> {
    const key = this.allowedKey("write", fields);
    await this.operations.put(key, givenValueOf(fields, this.settings.valueSizeLimit), this.writeOptions(fields));
    return doneReply(id, "Record stored");
  }

  private async patch(fields: Fields, id: string): Promise<string> {
    const key = this.allowedKey("write", fields);
    const { valueSizeLimit } = this.settings;
    await this.operations.patch(key, givenValueOf(fields, valueSizeLimit), valueSizeLimit - 1);
    return doneReply(id, "Record updated");
  }

  private async delete(fields: Fields, id: string): Promise<string> {
    const key = this.allowedKey("delete", fields);
    if (!(await this.operations.delete(key, this.writeOptions(fields)))) throw notFound();
    return doneReply(id, "Record deleted");
  }

  private async range(fields: Fields, id: string): Promise<string> {
    const { start, end } = endsOf(fields);
    const limit = limitOf(fields);
    const shows = this.shownBetween(start, end);
    const range = { start, end, limit, sizeMax: RANGE_SIZE_MAX, overhead: RECORD_OVERHEAD, shows };
    return rangeReply(id, await this.operations.range(range), RANGE_SIZE_MAX);
  }

  private async add(fields: Fields, text: string, id: string): Promise<string> {
    const key = this.allowedKey("write", fields);
    // It tells what was there.
    if (!this.principal.may("read", key)) this.deny("read", key);
    return sumReply(id, key, await this.operations.increment(key, incrementOf(fields, text)));
  }

  private allowedKey(verb: Verb, fields: Fields): Bytes {
    const key = keyOf(fields);
    if (!this.principal.may(verb, key)) this.deny(verb, key);
    return key;
  }

  /** Which records of a range are shown; `undefined`: all. */
  private shownBetween(start: Bytes, end: Bytes): ((key: Bytes) => boolean) | undefined {
    const shown = shownOf(this.principal, "range", start, end);
    if (shown === false) this.deny("range", start);
    return shown === true ? undefined : shown;
  }

  private deny(verb: Verb, key: Bytes): never {
    this.onDenied(verb, key);
    throw new ServerFailure(403, `Permission denied: this key or token may not ${verb} here.`);
  }

  private writeOptions(fields: Fields): ServedWriteOptions | undefined {
    if (!this.settings.ordersByTimestamps) return undefined;
    const timestamp = timestampOf(fields);
    return timestamp === undefined ? undefined : { timestamp };
  }
}

function foundReply(id: string, key: Bytes, value: Bytes | undefined): string {
  if (value === undefined) throw notFound();
  return recordReply(id, key, value);
}

function notFound(): ServerFailure {
  return new ServerFailure(404, "Record not found");
}
