/**
 * What a client and a server say to each other, as bytes: the subprotocol "cairn.v1".
 *
 * A frame is a sequence of CBOR items (see `cbor.ts`), of which the first is its type:
 *
 *   client → server
 *     1 CALLS     id, then calls to the end: call, arguments…; USE, face. Ids count up from `id`
 *     2 PING
 *   server → client
 *     0 WELCOME   a map: `Welcome`. The first frame
 *     1 ANSWERS   durable version, then answers to the end: id, how, what
 *     2 PONG
 *     3 DURABLE   version
 *     4 WATCHED   watch, version, … to the end
 *     5 CLOSING   last id: `ClosingMessage`
 *     6 PROGRESS  id, a map: of a verification
 *
 * A call is its place in `CALLS`. A face is `undefined` or an array: the names that lead to its namespace, and behind them, of a
 * snapshot or a transaction, its number. How an answer came: `VALUE`, `VERSIONED` (the version that a write made, which is not durable yet,
 * then the value), or `FAILURE` (code, operation, message, and where there is one the cause as text).
 */
import { CAIRN_ERROR_CODES, type CairnErrorCode } from "../error.ts";
import { CborReader, CborWriter, MalformedError } from "./cbor.ts";
import {
  type AnswersMessage,
  ARGUMENT_COUNTS,
  type CallsMessage,
  type ProgressMessage,
  type ToClient,
  USE,
  type WireCall,
  type WireError,
  type WireFace,
} from "./wire.ts";

/** The name of the subprotocol. */
export const SUBPROTOCOL = "cairn.v1";

/** Calls by their numbers, from 1 on; 0 is `USE`. Numbers stay what they are: new calls come at the end. */
export const CALLS: readonly (WireCall | typeof USE)[] = [
  USE,
  "get",
  "getEntry",
  "has",
  "delete",
  "del",
  "getMany",
  "set",
  "put",
  "append",
  "patch",
  "increment",
  "batch",
  "batchDurable",
  "count",
  "clear",
  "flush",
  "stats",
  "compact",
  "verify",
  "walk",
  "next",
  "end",
  "snapshot",
  "release",
  "begin",
  "commit",
  "rollback",
  "watch",
  "changes",
  "unwatch",
  "backup",
  "backupPart",
  "backupEnd",
  "serve",
];
const NUMBERS = new Map(CALLS.map((call, number) => [call, number]));

/** Types of frames from a client. */
export const FROM_CLIENT = { CALLS: 1, PING: 2 } as const;
const WELCOME = 0;
const ANSWERS = 1;
const PONG = 2;
const DURABLE = 3;
const WATCHED = 4;
const CLOSING = 5;
const PROGRESS = 6;
const VALUE = 0;
const VERSIONED = 1;
const FAILURE = 2;

/** A frame of calls is closed when it has this size: what is behind it need not wait for all of it. */
const FRAME_SIZE = 256 * 1024;

/** What a server says first. */
export interface Welcome {
  /** This connection's name. Views, walks, watches and backups mean nothing to another one. */
  owner: string;
  /** The opening of the store: what was written in the same one is there. */
  life: string;
  /** The newest version that was there when the store was opened. */
  recoveredVersion: number;
  /** Bytes of a frame at most. */
  frameSizeMax: number;
  /** Bytes of calls that may be unanswered; a single call may have more. */
  windowSize: number;
  /** Calls that may be unanswered. */
  windowCalls: number;
  /** Milliseconds after which a client that says nothing is taken for gone. */
  idleMs: number;
}

/** A frame from a server. */
export type ServerFrame =
  | { type: "welcome"; welcome: Welcome }
  | { type: "pong" }
  | Exclude<ToClient, { type: "owner" | "event" | "storeProgress" }>;

/**
 * Calls as frames, whose ids go on from `message.id`. A call that alone has more than `sizeMax` bytes, or holds what cannot be sent, is in
 * `refused` and in no frame: its id is passed over.
 */
export function framesOf(
  message: CallsMessage,
  sizeMax: number,
  writer = new CborWriter(),
): { frames: Uint8Array[]; refused: { id: number; call: WireCall; cause: unknown }[] } {
  const frames: Uint8Array[] = [];
  const refused: { id: number; call: WireCall; cause: unknown }[] = [];
  const { calls } = message;
  let { id } = message;
  let face: WireFace | undefined;
  /** The face that the frame has said last. */
  let said: WireFace | undefined;
  const begin = (): void => {
    writer.uint(FROM_CLIENT.CALLS);
    writer.uint(id);
    said = undefined;
  };
  const end = (): void => {
    frames.push(writer.take());
  };
  begin();
  let isEmpty = true;
  for (let at = 0; at < calls.length; ) {
    const call = calls[at] as WireCall | typeof USE;
    if (call === USE) {
      face = calls[at + 1] as WireFace | undefined;
      at += 2;
      continue;
    }
    if (writer.size >= FRAME_SIZE) {
      end();
      begin();
      isEmpty = true;
    }
    const { size } = writer;
    try {
      if (face !== said) writeFace(writer, face);
      writer.uint(NUMBERS.get(call) as number);
      for (let i = 1; i <= ARGUMENT_COUNTS[call]; i++) writer.value(calls[at + i]);
    } catch (cause) {
      writer.cut(size);
      refused.push({ id, call, cause });
    }
    at += 1 + ARGUMENT_COUNTS[call];
    id++;
    // Ids are counted: one that is passed over begins another frame, and so does a call that would make this one too large.
    const isRefused = refused.at(-1)?.id === id - 1;
    if (!isRefused && writer.size <= sizeMax) {
      said = face;
      isEmpty = false;
      continue;
    }
    if (!isRefused) {
      writer.cut(size);
      if (isEmpty) {
        const reason = `the call takes more than the ${sizeMax} bytes that the server takes at once`;
        refused.push({ id: id - 1, call, cause: new RangeError(reason) });
      } else {
        // It has a frame of its own, or none.
        at -= 1 + ARGUMENT_COUNTS[call];
        id--;
      }
    }
    if (isEmpty) writer.take();
    else end();
    begin();
    isEmpty = true;
  }
  if (isEmpty) writer.take();
  else end();
  return { frames, refused };
}

function writeFace(writer: CborWriter, face: WireFace | undefined): void {
  writer.uint(0);
  if (face === undefined) writer.value(undefined);
  else writer.value(face.view === undefined ? face.path : [...face.path, face.view]);
}

/** A frame that says that its client is there. */
export function pingFrame(): Uint8Array {
  return Uint8Array.of(FROM_CLIENT.PING);
}

/** What a server has said. Throws `MalformedError` for what it would not say. */
export function readServerFrame(bytes: Uint8Array, owner: string): ServerFrame {
  // A value that its program keeps must not keep all the others.
  const reader = new CborReader(bytes, bytes.length >> 1);
  const type = reader.uint();
  switch (type) {
    case WELCOME:
      return { type: "welcome", welcome: welcomeOf(reader.value()) };
    case ANSWERS:
      return answersOf(reader, owner);
    case PONG:
      return { type: "pong" };
    case DURABLE:
      return { type: "durable", owner, durableVersion: reader.uint() };
    case WATCHED: {
      const watches: [number, number][] = [];
      while (!reader.isDone) watches.push([reader.uint(), reader.uint()]);
      return { type: "watched", owner, watches };
    }
    case CLOSING:
      return { type: "closing", owner, lastId: reader.uint() };
    case PROGRESS:
      return { type: "progress", owner, id: reader.uint(), progress: reader.value() as ProgressMessage["progress"] };
  }
  throw new MalformedError(`a frame has the type ${type}`);
}

function answersOf(reader: CborReader, owner: string): AnswersMessage {
  const answers: AnswersMessage = {
    type: "answers",
    owner,
    ids: [],
    values: [],
    failures: [],
    durableVersion: reader.uint(),
  };
  const { ids, values, failures } = answers;
  while (!reader.isDone) {
    const id = reader.uint();
    const how = reader.uint();
    if (how === FAILURE) {
      failures.push([id, errorOf(reader)]);
      continue;
    }
    if (how === VERSIONED) {
      answers.versions ??= [];
      answers.versions[ids.length] = reader.uint();
    } else if (how !== VALUE) throw new MalformedError(`an answer came in the way ${how}`);
    ids.push(id);
    values.push(reader.value());
  }
  return answers;
}

function errorOf(reader: CborReader): WireError {
  const [code, operation, message, cause] = [reader.value(), reader.value(), reader.value(), reader.value()];
  if (typeof code !== "string" || typeof operation !== "string" || typeof message !== "string") {
    throw new MalformedError("an error has no code, no operation or no message");
  }
  // A newer server may have codes that are not known here.
  const known = CAIRN_ERROR_CODES.includes(code as CairnErrorCode) ? (code as CairnErrorCode) : "UNSUPPORTED";
  return { code: known, operation, message, ...(typeof cause === "string" ? { cause } : {}) };
}

function welcomeOf(value: unknown): Welcome {
  const welcome = Object(value) as Welcome;
  const names = ["recoveredVersion", "frameSizeMax", "windowSize", "windowCalls", "idleMs"] as const;
  const isOne = typeof welcome.owner === "string" && typeof welcome.life === "string";
  if (isOne && names.every((name) => Number.isSafeInteger(welcome[name]) && welcome[name] >= 0)) return welcome;
  throw new MalformedError("the first frame is no welcome");
}

/** Writes what a server says. Answers are collected until they are taken. */
export class ServerFrames {
  private readonly writer = new CborWriter();
  private readonly answers = new CborWriter();

  /** Bytes of answers that wait to be taken. */
  get size(): number {
    return this.answers.size;
  }

  /** Adds an answer; `version` is not 0 when it is of a write that is not durable. Throws `TypeError` for what cannot be sent, and adds nothing. */
  answer(id: number, value: unknown, version: number, durableVersion: number): void {
    const { answers } = this;
    const { size } = answers;
    try {
      this.begin(durableVersion);
      answers.uint(id);
      answers.uint(version === 0 ? VALUE : VERSIONED);
      if (version !== 0) answers.uint(version);
      answers.value(value);
    } catch (error) {
      answers.cut(size);
      throw error;
    }
  }

  /** Adds a failure. */
  fail(id: number, { code, operation, message, cause }: WireError, durableVersion: number): void {
    const { answers } = this;
    this.begin(durableVersion);
    answers.uint(id);
    answers.uint(FAILURE);
    answers.value(code);
    answers.value(operation);
    answers.value(message);
    answers.value(typeof cause === "object" ? cause.message : cause);
  }

  /** Takes back what was added behind `size`. */
  cut(size: number): void {
    this.answers.cut(size);
  }

  /** The answers that were added, as a frame; `undefined` when there is none. */
  take(): Uint8Array | undefined {
    return this.answers.size === 0 ? undefined : this.answers.take();
  }

  /** The first frame. */
  welcome(welcome: Welcome): Uint8Array {
    return this.frame(WELCOME, [welcome]);
  }

  /** What is durable now. */
  durable(version: number): Uint8Array {
    return this.frame(DURABLE, [version]);
  }

  /** How far watches are. */
  watched(watches: readonly [watch: number, version: number][]): Uint8Array {
    return this.frame(WATCHED, watches.flat());
  }

  /** That no call from `lastId` on is done. */
  closing(lastId: number): Uint8Array {
    return this.frame(CLOSING, [lastId]);
  }

  /** How far a verification is. */
  progress(id: number, progress: ProgressMessage["progress"]): Uint8Array {
    return this.frame(PROGRESS, [id, progress]);
  }

  /** The answer to a ping. */
  pong(): Uint8Array {
    return this.frame(PONG, []);
  }

  private begin(durableVersion: number): void {
    if (this.answers.size > 0) return;
    this.answers.uint(ANSWERS);
    this.answers.uint(durableVersion);
  }

  private frame(type: number, items: unknown[]): Uint8Array {
    this.writer.uint(type);
    for (const item of items) this.writer.value(item);
    return this.writer.take();
  }
}
