/** Streams of HTTP requests from random numbers: sound ones, and such with what smuggles, lies and breaks. */
import { HEAD_SIZE_MAX } from "../../adapters/server/listen/http-head.ts";
import type { Random } from "../simulation/random.ts";

const HOSTILE_LINES = [
  "Content-Length: 5",
  "Content-Length: 0",
  "Content-Length: 5, 5",
  "Content-Length: +5",
  "Content-Length: -1",
  "Content-Length: 0x5",
  "Content-Length: 5 5",
  "Content-Length:\x0b5",
  "Content-Length: 5\x0c",
  "Content-Length: 5\xa0",
  "Content-Length: 5\r",
  "Content-Length:\n5",
  "Content-Length: 99999999999999999999",
  "Content-Length: 900000",
  "Content-Length: 4\r\nContent-Length: 5",
  "Content-Length : 5",
  "content-length:5",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: cHuNkEd",
  "Transfer-Encoding: chunked, chunked",
  "Transfer-Encoding: identity",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked;q=1",
  "Transfer-Encoding:\x0bchunked",
  "Transfer-Encoding: chunked\x0c",
  "Transfer-Encoding:\xa0chunked",
  "Transfer-Encoding:\nchunked",
  "Transfer-Encoding: chunked\r",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding\t: chunked",
  "Transfer-Encoding:",
  " Transfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nContent-Length: 5",
  "X-Fold: a\r\n b",
  "X-Fold: a\r\n\tTransfer-Encoding: chunked",
  "X-End: a\n",
  "X-End: a\n\nGET /smuggled HTTP/1.1",
  "X-End: a\r",
  "X-Nul: a\0b",
  "X-High: \xe4\xf6",
  ": no name",
  "no colon",
  "Host: other.example",
  "Host: [::1]:80",
  "Host: a:b:c",
  "Host: %zz",
  "Host: a/b",
  "Connection: close",
  "Connection: keep-alive",
  "Connection: x, CLOSE ,y",
  "Connection: \x0bclose",
  "Expect: 100-continue",
  "Expect: nothing",
  "Upgrade: websocket\r\nConnection: Upgrade",
];
const INSERTS = [
  "\r",
  "\n",
  "\0",
  " ",
  "\t",
  "\x0b",
  "\x7f",
  "\xa0",
  "\r\n",
  "\r\n\r\n",
  "\n\n",
  ":",
  ";",
  "0",
  "HTTP/1.1",
  "%",
];
const TARGETS = [
  "/",
  "/record/a%20b?x=1",
  "//",
  '/a"<>\\^`{|}',
  "/\xfc",
  "*",
  "http://other.example/x?y",
  "HTTPS://other.example?z",
  "http://other.example",
  "http://other.example#f",
  "x:1",
  `/${"l".repeat(200)}`,
];
const METHODS = ["GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "get", "M-SEARCH"];

function drawChunked(random: Random): string {
  let text = "";
  for (let n = random.below(4); n > 0; n--) {
    const size = random.between(1, 40);
    const digits = random.chance(0.3)
      ? size.toString(16).toUpperCase().padStart(random.between(1, 13), "0")
      : size.toString(16);
    const extension = random.chance(0.2) ? random.pick([";a", " ;b=c", ';q="x\t y"', "\t;", ";\x01", ";\n"]) : "";
    text += `${digits}${extension}\r\n${"c".repeat(size)}\r\n`;
  }
  const trailers = random.chance(0.2)
    ? random.pick(["T: 1\r\n", "T: 1\r\nU: 2\r\n", "broken\r\n", "T: \0\r\n", "T: 1\n"])
    : "";
  return `${text}0\r\n${trailers}\r\n`;
}

function drawRequest(random: Random): string {
  const method = random.pick(METHODS);
  const version = random.chance(0.85) ? "1.1" : random.pick(["1.0", "1.0", "1.0", "2.0"]);
  const lines = [
    `${method} ${random.chance(0.7) ? "/a?b" : random.pick(TARGETS)} HTTP/${version}`,
    "Host: localhost:80",
  ];
  for (let n = random.below(4); n > 0; n--) lines.push(`X-${random.below(100)}: ${"v".repeat(random.below(20))}`);
  if (version === "1.0" && random.chance(0.7)) lines.push("Connection: keep-alive");
  let body = "";
  if (random.chance(0.5)) {
    if (random.chance(0.4)) {
      lines.push("Transfer-Encoding: chunked");
      body = drawChunked(random);
    } else {
      body = random.chance(0.2) ? "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" : "b".repeat(random.below(60));
      lines.push(`Content-Length: ${random.chance(0.1) ? body.length + random.between(-3, 3) : body.length}`);
    }
  }
  if (random.chance(0.15)) lines.splice(random.between(1, lines.length), 0, random.pick(HOSTILE_LINES));
  if (random.chance(0.02)) {
    // A head of about the size that a head may have.
    const size = lines.join("\r\n").length;
    lines.push(`X-Long: ${"l".repeat(Math.max(0, HEAD_SIZE_MAX - size - 10 + random.between(-4, 4)))}`);
  }
  if (random.chance(0.02)) for (let n = random.between(90, 105); n > 0; n--) lines.push("X: y");
  return `${random.chance(0.1) ? "\r\n" : ""}${lines.join("\r\n")}\r\n\r\n${body}`;
}

/** The bytes that one connection sends. */
export function drawStream(random: Random): Buffer {
  let text = "";
  for (let n = random.between(1, 5); n > 0; n--) text += drawRequest(random);
  for (let n = random.chance(0.4) ? random.between(1, 3) : 0; n > 0 && text.length > 0; n--) {
    const at = random.below(text.length);
    const kind = random.below(7);
    if (kind === 0) text = text.slice(0, at) + random.pick(INSERTS) + text.slice(at);
    else if (kind === 1) text = text.slice(0, at);
    else if (kind === 2) text = text.slice(0, at) + text.slice(at + random.between(1, 8));
    else if (kind === 3) text = text.slice(0, at + 12) + text.slice(at);
    else if (kind === 4) {
      const line = text.indexOf("\r\n", at);
      if (line >= 0) text = text.slice(0, line) + random.pick(["\n", "\r", "\r\r\n", "\n\r\n"]) + text.slice(line + 2);
    } else {
      const flipped = String.fromCharCode(text.charCodeAt(at) ^ (1 << random.below(8)));
      text = text.slice(0, at) + flipped + text.slice(at + 1);
    }
  }
  return Buffer.from(text, "latin1");
}

/** A stream in pieces: byte by byte, cut anywhere, or within the ends of its lines. */
export function drawPieces(random: Random, stream: Buffer): Buffer[] {
  if (random.chance(0.3)) return atLineEnds(stream);
  const sizeMax = random.pick([1, 3, 17, 200, 40_000]);
  const pieces: Buffer[] = [];
  for (let at = 0; at < stream.length; ) {
    const size = stream.length > 10_000 && sizeMax < 200 ? random.between(1, 5000) : random.between(1, sizeMax);
    pieces.push(stream.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

function atLineEnds(stream: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let from = 0;
  for (let cr = stream.indexOf(13); cr >= 0; cr = stream.indexOf(13, cr + 1)) {
    pieces.push(stream.subarray(from, cr + 1));
    from = cr + 1;
  }
  if (from < stream.length) pieces.push(stream.subarray(from));
  return pieces;
}
