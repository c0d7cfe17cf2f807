/**
 * One connection that speaks HTTP/1.1: requests come one after the other, pipelined or not, and are answered in that order.
 *
 * 1. A request is handled when its head is there, one at a time; what comes behind it waits, and the connection is paused where that
 *    would be much.
 * 2. Every stretch of time has an end: for a head, a body's progress, an answer, an answer's way out, and for doing nothing.
 * 3. After an answer that ends the connection, what still comes is thrown away for a moment: closing at once would take the
 *    answer from a client that is still sending.
 */
import { ServerFailure } from "../failure.ts";
import { reply } from "../reply.ts";
import type { RequestInfo } from "../wire.ts";
import { Body, type BodySource } from "./body.ts";
import { Exchange, type HttpServing } from "./exchange.ts";
import { HeldBytes } from "./held-bytes.ts";
import { type AnswerParts, answerParts, headOf, isBodiless, saysLength } from "./http-answer.ts";
import { HEAD_SIZE_MAX, type Head, HeadFailure, HeadReader } from "./http-head.ts";
import { Outflow } from "./outflow.ts";
import { asRequest } from "./request.ts";
import type { Connection, ConnectionHandler } from "./sockets.ts";
import { StreamAnswer } from "./stream-answer.ts";

/** Bytes behind a request that is being handled, before the connection is paused. */
const HELD_SIZE_MAX = 65_536;
/** Bytes that each `bodyMs` must bring of a body, in both directions. */
const BODY_PACE = 65_536;
/** How long what comes after the last answer is thrown away, and how much of it. */
const LINGER_MS = 2_000;
const LINGER_SIZE = 1_048_576;

const EMPTY_LINE = Buffer.from("\r\n\r\n");

export class HttpConnection implements ConnectionHandler, BodySource {
  readonly connection: Connection;
  private readonly serving: HttpServing;
  private readonly info: RequestInfo;
  private exchange: Exchange | undefined;
  /** What came and is not read yet. */
  private readonly held = new HeldBytes();
  /** No empty line ends before here. */
  private searched = 0;
  private readonly heads = new HeadReader();
  private readonly outflow: Outflow;
  private streaming: StreamAnswer | undefined;
  private isReading = false;
  private isPaused = false;
  private isInputEnded = false;
  private isLingering = false;
  private isChoked = false;
  private isGivenAway = false;
  private isClosed = false;
  private lingered = 0;
  /** When what is awaited must be there. */
  private deadline: number;

  constructor(connection: Connection, serving: HttpServing) {
    this.connection = connection;
    this.serving = serving;
    this.outflow = new Outflow(connection, (size) => serving.waits(size));
    this.info = { address: connection.address, secure: connection.secure };
    this.deadline = serving.clock.now + serving.headerMs;
  }

  get isIdle(): boolean {
    return this.exchange === undefined;
  }

  data(chunk: Buffer): void {
    if (this.isLingering) {
      this.lingered += chunk.length;
      if (this.lingered > LINGER_SIZE) this.connection.destroy();
      return;
    }
    if (this.held.size > 0) {
      this.hold(chunk);
      this.readHeld();
      return;
    }
    const used = this.read(chunk);
    if (used < chunk.length && !this.isLingering && !this.isClosed) this.hold(chunk.subarray(used));
    this.outflow.flush();
  }

  private hold(chunk: Buffer): void {
    const { held, serving } = this;
    if (held.size === 0 && this.exchange === undefined) this.deadline = serving.clock.now + serving.headerMs;
    held.add(chunk);
    if (held.size > HELD_SIZE_MAX && this.exchange !== undefined) this.enough();
  }

  private readHeld(): void {
    if (this.isReading || this.held.size === 0) return;
    const used = this.read(this.held.bytes);
    if (this.isLingering || this.isClosed) this.held.clear();
    else this.held.drop(used);
    this.outflow.flush();
  }

  /** Reads what can be read of `input` now: how many bytes. */
  private read(input: Buffer): number {
    let at = 0;
    this.isReading = true;
    while (at < input.length && !this.isLingering && !this.isClosed && !this.isGivenAway) {
      if (this.outflow.isHigh) {
        // Answers that nobody takes: no further request until they have left.
        this.isChoked = true;
        this.enough();
        break;
      }
      const { exchange } = this;
      if (exchange === undefined) {
        const used = this.readRequest(at === 0 ? input : input.subarray(at));
        if (used === 0) break;
        at += used;
      } else if (!exchange.body.isComplete && exchange.body.failure === undefined) {
        at += this.readBody(exchange, at === 0 ? input : input.subarray(at));
      } else break;
    }
    this.isReading = false;
    return at;
  }

  private readBody(exchange: Exchange, input: Buffer): number {
    try {
      return exchange.body.take(input);
    } catch (error) {
      const failure = error as ServerFailure;
      exchange.body.fail(failure);
      this.refuse(failure.status, failure.message);
      return input.length;
    }
  }

  /** Reads a head, begins its request, and gives it what has come of its body. */
  private readRequest(input: Buffer): number {
    let start = 0;
    // An empty line before a request is forgiven, as RFC 9112 wants.
    if (input[0] === 13 && input[1] === 10) start = 2;
    const end = input.indexOf(EMPTY_LINE, Math.max(start, this.searched));
    // Three bytes of the empty line may be there without its end.
    if (end < 0 ? input.length > HEAD_SIZE_MAX + 3 : end > HEAD_SIZE_MAX) {
      this.refuse(431, `The head of the request is over ${HEAD_SIZE_MAX} bytes.`);
      return input.length;
    }
    if (end < 0) {
      this.searched = Math.max(0, input.length - 3);
      return 0;
    }
    this.searched = 0;
    let head: Head;
    try {
      head = this.heads.read(input.toString("latin1", start, end + 2));
    } catch (error) {
      if (!(error instanceof HeadFailure)) throw error;
      this.refuse(error.status, error.message, error.headers);
      return input.length;
    }
    const { bodyBytes, clock, requestMs, bodyMs } = this.serving;
    const body = new Body(head.length, bodyBytes, this);
    const exchange = new Exchange(head, body, this.info.secure, clock.now + requestMs);
    this.exchange = exchange;
    let used = end + 4;
    if (!body.isComplete) {
      exchange.bodyBy = clock.now + bodyMs;
      if (used < input.length) used += this.readBody(exchange, input.subarray(used));
      if (this.isLingering) return used;
      exchange.awaitsContinue = head.expects && body.size === 0;
    }
    this.begin(exchange);
    return used;
  }

  private begin(exchange: Exchange): void {
    let answer: Response | undefined | Promise<Response | undefined>;
    try {
      const request = asRequest(exchange.request);
      answer = exchange.isUpgrade
        ? this.serving.upgrade(request, exchange.head, this.connection, this.info, () => this.rest())
        : this.serving.handle(request, this.info);
    } catch {
      answer = serverError();
    }
    if (answer instanceof Promise) {
      answer.then(
        (response) => this.answer(exchange, response),
        () => this.answer(exchange, serverError()),
      );
    } else this.answer(exchange, answer);
  }

  /** What came behind an upgrade, given away. */
  private rest(): Buffer {
    const rest = this.held.bytes;
    this.held.clear();
    return rest;
  }

  private answer(exchange: Exchange, response: Response | undefined): void {
    if (response === undefined) {
      // It is a WebSocket from now on, and others care for it.
      this.isGivenAway = true;
      this.exchange = undefined;
      return;
    }
    if (exchange.isAnswered || this.isClosed) {
      cancel(response);
      return;
    }
    exchange.isAnswered = true;
    try {
      this.send(exchange, answerParts(response));
    } catch {
      // A header that cannot be sent: nothing of the answer has left.
      this.send(exchange, answerParts(serverError()));
    }
    if (!this.isReading) this.outflow.flush();
  }

  private send(exchange: Exchange, { status, headers, body }: AnswerParts): void {
    const { head } = exchange;
    const ends =
      !head.keepAlive || this.serving.isClosing || this.isInputEnded || !exchange.body.isComplete || exchange.isUpgrade;
    let text = headOf(status, headers, this.serving.clock.date);
    if (ends) text += "connection: close\r\n";
    else if (head.isOld) text += "connection: keep-alive\r\n";
    if (body instanceof ReadableStream) {
      if (head.method === "HEAD" || isBodiless(status)) {
        body.cancel().catch(() => {});
        this.outflow.put(`${text}\r\n`);
        this.done(exchange, ends);
      } else void this.stream(exchange, text, body, ends);
      return;
    }
    const size = body === null ? 0 : typeof body === "string" ? Buffer.byteLength(body) : body.length;
    const isUnsaid = head.method === "HEAD" && body === null;
    if (!isUnsaid && !isBodiless(status) && !saysLength(headers)) text += `content-length: ${size}\r\n`;
    if (size === 0 || head.method === "HEAD" || isBodiless(status)) this.outflow.put(`${text}\r\n`);
    else if (typeof body === "string") this.outflow.put(`${text}\r\n${body}`);
    else {
      this.outflow.put(`${text}\r\n`);
      this.outflow.putBytes(body as Uint8Array);
    }
    this.done(exchange, ends);
  }

  private async stream(
    exchange: Exchange,
    head: string,
    body: ReadableStream<Uint8Array>,
    ends: boolean,
  ): Promise<void> {
    const length = /\r\ncontent-length: (\d+)\r\n/.exec(head)?.[1];
    const isChunked = length === undefined && !exchange.head.isOld;
    const endsHere = ends || (length === undefined && !isChunked);
    let text = head;
    if (isChunked) text += "transfer-encoding: chunked\r\n";
    if (endsHere && !ends) text += "connection: close\r\n";
    this.outflow.put(`${text}\r\n`);
    this.outflow.flush();
    const stream = new StreamAnswer(body, this.outflow);
    this.streaming = stream;
    const isWhole = await stream.send({ length: length === undefined ? undefined : Number(length), isChunked });
    this.streaming = undefined;
    if (!isWhole) {
      this.connection.destroy();
      return;
    }
    this.done(exchange, endsHere);
    this.outflow.flush();
  }

  private done(exchange: Exchange, ends: boolean): void {
    exchange.isEnded = true;
    if (this.exchange !== exchange) return;
    if (this.outflow.isHigh) this.outflow.account();
    if (ends) {
      this.linger();
      return;
    }
    this.exchange = undefined;
    this.deadline = this.serving.clock.now + this.serving.idleMs;
    if (this.isPaused) this.wanted();
    if (!this.isReading && this.held.size > 0) this.readHeld();
    if (this.isInputEnded && this.isIdle && !this.isReading) this.linger();
  }

  /** The last answer is on its way. */
  private linger(): void {
    if (this.isLingering) return;
    this.isLingering = true;
    this.held.clear();
    this.outflow.flush();
    this.deadline = this.serving.clock.now + LINGER_MS;
    this.connection.end();
    if (this.isPaused) this.wanted();
  }

  /** Answers what cannot be handled, and ends the connection. */
  private refuse(status: number, message: string, headers: Record<string, string> = {}): void {
    if (this.exchange?.isAnswered === true) {
      // An answer is on its way already: there is no place for another.
      if (this.exchange.isEnded) this.linger();
      else this.connection.destroy();
      return;
    }
    if (this.exchange !== undefined) this.exchange.isAnswered = true;
    const fields = { "content-type": "application/json", ...headers };
    const body = JSON.stringify({ error: message, message });
    const head = headOf(status, fields, this.serving.clock.date);
    this.outflow.put(`${head}connection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    this.linger();
  }

  wanted(): void {
    const { exchange } = this;
    if (exchange?.awaitsContinue === true && !exchange.isAnswered) {
      exchange.awaitsContinue = false;
      this.outflow.put("HTTP/1.1 100 Continue\r\n\r\n");
      if (!this.isReading) this.outflow.flush();
    }
    if (!this.isPaused) return;
    this.isPaused = false;
    if (!this.isClosed) this.connection.resume();
    if (exchange === undefined) return;
    const { clock, bodyMs, requestMs } = this.serving;
    exchange.bodyBy = clock.now + bodyMs;
    exchange.answerBy = clock.now + requestMs;
  }

  enough(): void {
    if (this.isPaused) return;
    this.isPaused = true;
    this.connection.pause();
  }

  ended(): void {
    this.isInputEnded = true;
    const { exchange } = this;
    if (this.isLingering) {
      if (this.connection.buffered === 0) this.connection.destroy();
      return;
    }
    if (exchange === undefined) {
      this.linger();
      return;
    }
    if (this.streaming !== undefined) {
      // Whoever has ended its side while a stream runs has gone: nothing else would tell of it while the stream is silent.
      this.connection.destroy();
    } else if (!exchange.body.isComplete) {
      exchange.body.fail(new ServerFailure(400, "The connection ended in the midst of the body."));
      exchange.request.abort();
      this.connection.destroy();
    }
  }

  drained(): void {
    this.outflow.drained();
    if (!this.isChoked || this.isClosed) return;
    this.isChoked = false;
    this.wanted();
    this.readHeld();
  }

  closed(): void {
    this.isClosed = true;
    this.held.clear();
    const { exchange } = this;
    if (exchange !== undefined && !exchange.isEnded) {
      exchange.body.fail(new ServerFailure(400, "The connection ended in the midst of the body."));
      exchange.request.abort();
    }
    this.streaming?.cancel();
    this.outflow.closed();
    this.serving.gone(this);
  }

  /** Called now and then: ends what takes too long. */
  check(now: number): void {
    if (this.outflow.isStalled(now, this.serving.bodyMs)) {
      this.connection.destroy();
      return;
    }
    const { exchange } = this;
    if (this.isLingering) {
      if (now > this.deadline && this.connection.buffered === 0) this.connection.destroy();
    } else if (exchange === undefined) {
      if (now <= this.deadline) return;
      if (this.held.size > 0) this.refuse(408, "The head of the request did not come in time.");
      else this.linger();
    } else if (!exchange.body.isComplete && !this.isPaused && now > exchange.bodyBy) {
      if (exchange.body.size - exchange.bodyMark < BODY_PACE) {
        const failure = new ServerFailure(408, "The body of the request did not come in time.");
        exchange.body.fail(failure);
        exchange.request.abort();
        this.refuse(failure.status, failure.message);
      } else {
        exchange.bodyMark = exchange.body.size;
        exchange.bodyBy = now + this.serving.bodyMs;
        exchange.answerBy = now + this.serving.requestMs;
      }
    } else if (!exchange.isAnswered && now > exchange.answerBy && (exchange.body.isComplete || this.isPaused)) {
      exchange.request.abort();
      this.refuse(503, "The answer took too long.", { "retry-after": "1" });
    }
  }

  /** The server closes: what is idle ends now, everything else after its answer. */
  closeSoon(): void {
    if (this.exchange === undefined) this.linger();
  }
}

function serverError(): Response {
  const message = "Server error.";
  return reply(500, JSON.stringify({ error: message, message }), { "content-type": "application/json" });
}

function cancel(response: Response): void {
  const { body } = answerParts(response);
  if (body instanceof ReadableStream) body.cancel().catch(() => {});
}
