/**
 * The head of an HTTP/1.1 request (RFC 9112), read strictly: what two readers could take for different requests is refused.
 *
 * 1. No folded lines, no white space before a colon, no bare CR, LF or NUL, one length, no length beside `chunked`.
 * 2. What is refused ends the connection: where the next request begins is not known then.
 */

/** Why a head is refused. */
export class HeadFailure extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** A request's head. */
export interface Head {
  method: string;
  /** As it came: a path with its query; not ASCII is percent-encoded. */
  target: string;
  /** Names in lower case and values, in turn, in their order. */
  fields: string[];
  host: string;
  /** Bytes of the body; -1: in chunks, as many as come. */
  length: number;
  keepAlive: boolean;
  /** Whether the client speaks HTTP/1.0, and so knows no chunks. */
  isOld: boolean;
  /** Whether it waits for `100 Continue` before it sends the body. */
  expects: boolean;
  /** What it wants to go on with; "" nothing. Lower case. */
  upgrade: string;
}

/** Bytes of a head, at most. */
export const HEAD_SIZE_MAX = 32_768;
const TARGET_SIZE_MAX = 16_384;
const FIELD_COUNT_MAX = 100;
/** A length that a number holds exactly. */
const LENGTH_DIGITS_MAX = 15;

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/;
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
const NO_VALUE = /[\0-\x08\x0a-\x1f\x7f]/;
const NO_TARGET = /[\0-\x20\x7f"<>\\^`{|}]/;
const NOT_ASCII = /[\x80-\xff]/;
const HOST = /^[0-9A-Za-z.\-_~!$&'()*+,;=:%[\]]*$/;

/** Names that come often, so that they need no lower-casing. */
const KNOWN = new Map<string, string>();
/** Hosts that were found to be sound. */
const HOSTS = new Set<string>();

/** Heads whose headers are remembered have at most so many characters: a connection keeps them. */
const REMEMBERED_SIZE_MAX = 2048;

/** Reads the heads of one connection: clients send the same headers with each request, which are read once. */
export class HeadReader {
  /** The headers of the last request as they came, and its head. */
  private fieldsText = "";
  private last: Head | undefined;

  /** `readHead`. */
  read(text: string): Head {
    const { last } = this;
    const lineEnd = text.indexOf("\r\n");
    // Cut out and compared, which takes a tenth of what `endsWith` does.
    const fieldsText = text.slice(lineEnd + 2);
    if (last !== undefined && fieldsText === this.fieldsText) {
      const line = readLine(text, lineEnd);
      if (line.isOld === last.isOld) {
        const { fields, host, length, keepAlive, isOld, expects, upgrade } = last;
        return { method: line.method, target: line.target, fields, host, length, keepAlive, isOld, expects, upgrade };
      }
    }
    const head = readHead(text, lineEnd);
    const isShort = text.length <= REMEMBERED_SIZE_MAX;
    this.last = isShort ? head : undefined;
    this.fieldsText = isShort ? fieldsText : "";
    return head;
  }
}

/** Reads a head from its text, Latin-1, up to and with the last line's CR LF and without the empty line. Throws `HeadFailure`. */
export function readHead(text: string, lineEnd = text.indexOf("\r\n")): Head {
  const { method, target, isOld } = readLine(text, lineEnd);
  const head: Head = {
    method,
    target,
    fields: [],
    host: "",
    length: 0,
    keepAlive: !isOld,
    isOld,
    expects: false,
    upgrade: "",
  };
  readFields(head, text, lineEnd + 2);
  return head;
}

function readLine(text: string, lineEnd: number): Pick<Head, "method" | "target" | "isOld"> {
  const methodEnd = text.indexOf(" ");
  const targetEnd = text.indexOf(" ", methodEnd + 1);
  if (methodEnd < 1 || targetEnd < 0 || targetEnd > lineEnd)
    throw new HeadFailure(400, "The request line is malformed.");
  // A text that is cut out is dearer to compare and to look up.
  const method = methodEnd === 3 && text.startsWith("GET") ? "GET" : text.slice(0, methodEnd);
  if (method !== "GET" && !METHOD.test(method)) throw new HeadFailure(400, "The method is malformed.");
  const version = text.slice(targetEnd + 1, lineEnd);
  const isOld = version === "HTTP/1.0";
  if (version !== "HTTP/1.1" && !isOld) {
    if (/^HTTP\/\d\.\d$/.test(version)) throw new HeadFailure(505, "This server speaks HTTP/1.1.");
    throw new HeadFailure(400, "The request line is malformed.");
  }
  return { method, target: targetOf(text.slice(methodEnd + 1, targetEnd)), isOld };
}

function targetOf(target: string): string {
  if (target.length > TARGET_SIZE_MAX)
    throw new HeadFailure(414, `The request's target is over ${TARGET_SIZE_MAX} bytes.`);
  if (NO_TARGET.test(target)) {
    // Some clients leave these to be understood; blanks and control characters never are.
    if (/[\0-\x20\x7f]/.test(target)) throw new HeadFailure(400, "The request's target is malformed.");
    target = target.replace(/["<>\\^`{|}]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
  }
  if (NOT_ASCII.test(target)) {
    target = target.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`);
  }
  if (target.charCodeAt(0) === 47) return target;
  if (target === "*") return "/*";
  // The form that proxies are sent.
  const absolute = /^https?:\/\/[^/?#]+(?=[/?]|$)/i.exec(target);
  if (absolute === null) throw new HeadFailure(400, "The request's target is malformed.");
  const rest = target.slice(absolute[0].length);
  return rest.startsWith("/") ? rest : `/${rest}`;
}

function readFields(head: Head, text: string, start: number): void {
  const { fields } = head;
  let at = start;
  let hosts = 0;
  let hasLength = false;
  let isChunked = false;
  let connection = "";
  let upgrade = "";
  while (at < text.length) {
    const end = text.indexOf("\r\n", at);
    const colon = text.indexOf(":", at);
    if (colon <= at || colon > end) throw new HeadFailure(400, "A header is malformed.");
    const name = nameOf(text.slice(at, colon));
    const value = trimmed(text, colon + 1, end);
    if (NO_VALUE.test(value)) throw new HeadFailure(400, `The header ${name} is malformed.`);
    if (fields.push(name, value) > 2 * FIELD_COUNT_MAX)
      throw new HeadFailure(431, `There are over ${FIELD_COUNT_MAX} headers.`);
    switch (name) {
      case "host":
        hosts++;
        if (!HOSTS.has(value)) checkHost(value);
        head.host = value;
        break;
      case "content-length":
        if (hasLength || !/^\d+$/.test(value)) throw new HeadFailure(400, "The header content-length is malformed.");
        if (value.length > LENGTH_DIGITS_MAX) throw new HeadFailure(413, "The body is too large.");
        hasLength = true;
        head.length = Number(value);
        break;
      case "transfer-encoding":
        if (isChunked || value.toLowerCase() !== "chunked")
          throw new HeadFailure(501, "Bodies are taken as they are, or in chunks.");
        isChunked = true;
        break;
      case "connection":
        connection += connection === "" ? value.toLowerCase() : `,${value.toLowerCase()}`;
        break;
      case "upgrade":
        upgrade = value.toLowerCase();
        break;
      case "expect":
        if (value.toLowerCase() !== "100-continue") throw new HeadFailure(417, "Only 100-continue may be expected.");
        head.expects = !head.isOld;
        break;
    }
    at = end + 2;
  }
  if (hosts > 1 || (hosts === 0 && !head.isOld)) throw new HeadFailure(400, "A request has one header host.");
  if (isChunked) {
    if (hasLength || head.isOld) throw new HeadFailure(400, "A body has one length.");
    head.length = -1;
  }
  if (connection === "") return;
  const wants = connection.split(",").map((word) => word.trim());
  if (wants.includes("close")) head.keepAlive = false;
  else if (head.isOld && wants.includes("keep-alive")) head.keepAlive = true;
  if (wants.includes("upgrade") && !head.isOld) head.upgrade = upgrade;
}

/**
 * A value without the blanks and tabs around it, and nothing else: `trim` would take control characters away as well, and with them what
 * another reader takes for the end of a line, or of the head.
 */
function trimmed(text: string, start: number, end: number): string {
  let from = start;
  let to = end;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (from < to && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x09;
}

/** 400 for what would make no URL: handlers take that of a request apart. */
function checkHost(value: string): void {
  if (!HOST.test(value) || (value !== "" && !URL.canParse(`http://${value}/`))) {
    throw new HeadFailure(400, "The header host is malformed.");
  }
  if (HOSTS.size < 256 && value.length <= 256) HOSTS.add(value);
}

function nameOf(name: string): string {
  const known = KNOWN.get(name);
  if (known !== undefined) return known;
  if (!NAME.test(name)) throw new HeadFailure(400, "A header's name is malformed.");
  const lower = name.toLowerCase();
  // Names of a client's own making would fill it.
  if (KNOWN.size < 256) KNOWN.set(name, lower);
  return lower;
}
