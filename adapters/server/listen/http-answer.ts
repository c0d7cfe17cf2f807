/** Answers as bytes of HTTP/1.1. */
import { HEADER_LINES, partsOf, type ReplyBody, type ReplyHeaders } from "../reply.ts";

const REASONS: Record<number, string> = {
  100: "Continue",
  101: "Switching Protocols",
  200: "OK",
  201: "Created",
  202: "Accepted",
  204: "No Content",
  206: "Partial Content",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  422: "Unprocessable Content",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
  507: "Insufficient Storage",
};

/** What an answer is made of, whoever made it. */
export interface AnswerParts {
  status: number;
  headers: ReplyHeaders | Headers;
  body: ReplyBody;
}

/** The parts of any response. */
export function answerParts(response: Response): AnswerParts {
  return partsOf(response) ?? { status: response.status, headers: response.headers, body: response.body };
}

const NO_VALUE = /[^\t\x20-\x7e]/;

/** What the listener says itself: lengths, and whether the connection stays. */
const OWN = new Set(["connection", "transfer-encoding", "keep-alive", "date"]);

/** Texts of headers that nobody can change: those of most answers are one and the same object. */
const texts = new WeakMap<object, string>();

/** The first lines of the answers that are most, of one second. */
let okDate = "";
let okLines = "";

/** The head of an answer up to its last header, without the empty line. Throws where a header could not be sent as it is. */
export function headOf(status: number, headers: ReplyHeaders | Headers, date: string): string {
  if (status !== 200) return `HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\ndate: ${date}\r\n${textOf(headers)}`;
  if (date !== okDate) {
    okDate = date;
    okLines = `HTTP/1.1 200 OK\r\ndate: ${date}\r\n`;
  }
  return okLines + textOf(headers);
}

/** Whether an answer's headers say how long its body is. */
export function saysLength(headers: ReplyHeaders | Headers): boolean {
  return headers instanceof Headers ? headers.has("content-length") : headers["content-length"] !== undefined;
}

function textOf(headers: ReplyHeaders | Headers): string {
  const lines = (headers as { [HEADER_LINES]?: string })[HEADER_LINES];
  if (lines !== undefined) return lines;
  const known = texts.get(headers);
  if (known !== undefined) return known;
  let text = "";
  if (headers instanceof Headers) {
    for (const [name, value] of headers) text += lineOf(name, value);
  } else {
    for (const name of Object.keys(headers)) text += lineOf(name, headers[name] as string);
    if (Object.isFrozen(headers)) texts.set(headers, text);
  }
  return text;
}

function lineOf(name: string, value: string): string {
  if (OWN.has(name)) return "";
  if (NO_VALUE.test(value)) throw new TypeError(`the header ${name} of an answer holds what no header may hold`);
  return `${name}: ${value}\r\n`;
}

/** Whether answers of a status have no body, and say no length. */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304 || status < 200;
}
