/**
 * A strict reading of RFC 9112, over all bytes of a stream at once: what requests a server may see in it. Written for being read, and apart
 * from the server's parser, with which it shares nothing.
 */

export interface ReadRequest {
  method: string;
  /** As a handler's URL has it. */
  target: string;
  /** The names and values of its headers. */
  fields: [name: string, value: string][];
  body: string;
}

export interface Reading {
  /** Whole ones, in their order. */
  requests: ReadRequest[];
  /**
   * What comes behind them: nothing, or what may still become a request (`open`); what is none (`refused`); what nobody looks at any
   * more, since the last one ended the connection (`closed`).
   */
  end: "open" | "refused" | "closed";
}

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]";
const REQUEST_LINE = new RegExp(`^(${TOKEN}{1,32}) ([\\x21-\\x7e\\x80-\\xff]+) HTTP/1\\.([01])$`);
const FIELD_LINE = new RegExp(`^(${TOKEN}+):[\\t ]*([\\t\\x20-\\x7e\\x80-\\xff]*?)[\\t ]*$`);
const CHUNK_LINE = /^([0-9A-Fa-f]{1,12})(?:[\t ]*;[\t\x20-\x7e]*)?$/;

/** Reads a stream. `headSizeMax` and `bodySizeMax` are the server's limits. */
export function readStrictly(bytes: Buffer, headSizeMax: number, bodySizeMax: number): Reading {
  const text = bytes.toString("latin1");
  const requests: ReadRequest[] = [];
  let at = 0;
  for (;;) {
    if (at === text.length) return { requests, end: "open" };
    const start = text.startsWith("\r\n", at) ? at + 2 : at;
    const end = text.indexOf("\r\n\r\n", start);
    const isTooLong = end < 0 ? text.length - at > headSizeMax + 3 : end - at > headSizeMax;
    if (isTooLong) return { requests, end: "refused" };
    if (end < 0) return { requests, end: "open" };
    const head = headOf(text.slice(start, end));
    if (head === undefined || head.length > bodySizeMax) return { requests, end: "refused" };
    const body = head.length < 0 ? chunksOf(text, end + 4) : wholeOf(text, end + 4, head.length);
    if (body === "malformed") return { requests, end: "refused" };
    if (body === "partial") return { requests, end: "open" };
    requests.push({ method: head.method, target: head.target, fields: head.fields, body: body.text });
    if (!head.keeps) return { requests, end: "closed" };
    at = body.end;
  }
}

type Head = Omit<ReadRequest, "body"> & { length: number; keeps: boolean };

function headOf(text: string): Head | undefined {
  const [first = "", ...lines] = text.split("\r\n");
  const [, method, target, minor] = REQUEST_LINE.exec(first) ?? [];
  if (method === undefined || target === undefined || target.length > 16_384 || lines.length > 100) return undefined;
  const fields: Head["fields"] = [];
  for (const line of lines) {
    const [, name, value] = FIELD_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    fields.push([name.toLowerCase(), value]);
  }
  const all = (name: string): string[] => fields.filter((field) => field[0] === name).map((field) => field[1]);
  const path = pathOf(target);
  const hosts = all("host");
  const isOld = minor === "0";
  if (path === undefined || hosts.length > 1 || (hosts.length === 0 && !isOld)) return undefined;
  if (hosts.some((host) => /[^0-9A-Za-z.\-_~!$&'()*+,;=:%[\]]/.test(host) || !URL.canParse(`http://${host || "x"}/`)))
    return undefined;
  const lengths = all("content-length");
  const codings = all("transfer-encoding");
  if (lengths.length + codings.length > 1) return undefined;
  if (lengths.some((value) => !/^\d{1,15}$/.test(value))) return undefined;
  if (codings.some((value) => value.toLowerCase() !== "chunked") || (codings.length > 0 && isOld)) return undefined;
  if (all("expect").some((value) => value.toLowerCase() !== "100-continue")) return undefined;
  const options = all("connection").flatMap((value) =>
    value
      .toLowerCase()
      .split(",")
      .map((word) => word.trim()),
  );
  const upgrades = all("upgrade").at(-1)?.toLowerCase() === "websocket" && options.includes("upgrade");
  const isUpgrade = upgrades && method === "GET" && !isOld;
  const keeps = !options.includes("close") && !isUpgrade && (!isOld || options.includes("keep-alive"));
  return { method, target: path, fields, length: codings.length > 0 ? -1 : Number(lengths[0] ?? 0), keeps };
}

function pathOf(target: string): string | undefined {
  const encoded = target.replace(/["<>\\^`{|}\x80-\xff]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  if (encoded.startsWith("/")) return encoded;
  if (encoded === "*") return "/*";
  const [, rest] = /^https?:\/\/[^/?#]+(.*)$/i.exec(encoded) ?? [];
  if (rest === undefined || rest.startsWith("#")) return undefined;
  return rest.startsWith("/") ? rest : `/${rest}`;
}

type Body = { text: string; end: number } | "partial" | "malformed";

function wholeOf(text: string, at: number, length: number): Body {
  return text.length - at < length ? "partial" : { text: text.slice(at, at + length), end: at + length };
}

function chunksOf(text: string, start: number): Body {
  let at = start;
  let body = "";
  for (;;) {
    const line = lineAt(text, at, 256);
    if (typeof line === "string") return line;
    const [, digits] = CHUNK_LINE.exec(line.text) ?? [];
    if (digits === undefined) return "malformed";
    at = line.end;
    const size = Number.parseInt(digits, 16);
    if (size === 0) break;
    const end = at + size;
    body += text.slice(at, end);
    if (text.length <= end) return "partial";
    const behind = lineAt(text, end, 256);
    if (typeof behind === "string") return behind;
    if (behind.text !== "") return "malformed";
    at = behind.end;
  }
  const trailers = at;
  for (;;) {
    const line = lineAt(text, at, 4096 - (at - trailers));
    if (typeof line === "string") return line;
    at = line.end;
    if (line.text === "") return { text: body, end: at };
    if (!FIELD_LINE.test(line.text)) return "malformed";
  }
}

/** A line that ends with CR LF, which `sizeMax` counts. */
function lineAt(text: string, at: number, sizeMax: number): { text: string; end: number } | "partial" | "malformed" {
  const lf = text.indexOf("\n", at);
  const size = (lf < 0 ? text.length : lf + 1) - at;
  if (size > sizeMax) return "malformed";
  if (lf < 0) return "partial";
  const line = text.slice(at, lf);
  return line.endsWith("\r") && line.indexOf("\r") === line.length - 1
    ? { text: line.slice(0, -1), end: lf + 1 }
    : "malformed";
}
