/** WebSockets of whichever runtime, as the client uses them. */
import { SUBPROTOCOL } from "../../store/connection/frames.ts";

/** What shows a server who asks. */
export interface Credential {
  kind: "key" | "token";
  text: string;
}

/** Certificates of a connection with TLS, where the runtime takes them: Node. PEM text. */
export interface ClientTls {
  /** Authorities that count beside, or instead of, those of the system. */
  ca?: string | undefined;
  /** A certificate of the client's own. */
  cert?: string | undefined;
  /** Its private key. */
  key?: string | undefined;
}

/** The part of a WebSocket that is used here. */
export interface AnySocket {
  binaryType: string;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: string, listener: (event: never) => void): void;
  terminate?(): void;
}

/** The constructor of a runtime's WebSocket. */
export type SocketConstructor = new (url: string, protocols: string[]) => AnySocket;

/** What becomes of a socket. After `closed` nothing comes. */
export interface SocketEvents {
  message(frame: Uint8Array): void;
  /** `status`: that of HTTP, when the server refused the upgrade and the runtime tells. */
  closed(code: number, reason: string, status: number | undefined): void;
}

/** An open socket, or one that is being opened. */
export interface ClientSocket {
  send(frame: Uint8Array): void;
  close(): void;
  /** Gives it up at once. */
  drop(): void;
}

/** Messages of a server have no limit here: it was chosen by the program. */
const PAYLOAD_MAX = 2 ** 31 - 1;
const ABNORMAL = 1006;

interface NodeSocketModule {
  WebSocket: new (url: string, protocols: string[], options: object) => AnySocket & NodeEvents;
}
interface NodeEvents {
  on(
    event: "unexpected-response",
    listener: (request: { destroy(): void }, response: { statusCode?: number }) => void,
  ): void;
  on(event: "error", listener: () => void): void;
}

/**
 * Opens a socket: by `given` where the program has chosen, in Node by the package ws, which sets headers and tells why a server refuses, and else
 * by the runtime's own, with the credential as a subprotocol.
 */
export async function openSocket(
  url: URL,
  credential: Credential | undefined,
  given: SocketConstructor | undefined,
  tls: ClientTls | undefined,
  events: SocketEvents,
): Promise<ClientSocket> {
  const node = given === undefined && isNode() ? await nodeSockets() : undefined;
  if (node !== undefined) return openInNode(node, url, credential, tls, events);
  const WebSocket = given ?? (globalThis as { WebSocket?: SocketConstructor }).WebSocket;
  if (WebSocket === undefined) throw new Error("this runtime has no WebSocket: pass one as the option WebSocket");
  if (tls !== undefined) throw new Error("this runtime's WebSocket takes no certificates: leave the option tls out");
  const protocols = [SUBPROTOCOL];
  if (credential !== undefined) protocols.push(`cairn.${credential.kind}.${base64url(credential.text)}`);
  return watched(new WebSocket(url.href, protocols), events, () => refusalOf(url, credential)).client;
}

function openInNode(
  { WebSocket }: NodeSocketModule,
  url: URL,
  credential: Credential | undefined,
  tls: ClientTls | undefined,
  events: SocketEvents,
): ClientSocket {
  const options = { headers: headersOf(credential), perMessageDeflate: false, maxPayload: PAYLOAD_MAX, ...tls };
  const socket = new WebSocket(url.href, [SUBPROTOCOL], options);
  let status: number | undefined;
  const { client, fail } = watched(socket, events, async () => status);
  socket.on("unexpected-response", (request, response) => {
    status = response.statusCode;
    request.destroy();
    fail("the upgrade was refused");
  });
  return client;
}

/** Passes events on, each socket's end once. */
function watched(
  socket: AnySocket,
  events: SocketEvents,
  statusOf: () => Promise<number | undefined>,
): { client: ClientSocket; fail(reason: string): void } {
  let isOpen = false;
  let isOver = false;
  const end = async (code: number, reason: string): Promise<void> => {
    if (isOver) return;
    isOver = true;
    events.closed(code, reason, isOpen ? undefined : await statusOf());
  };
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => {
    isOpen = true;
  });
  socket.addEventListener("message", ({ data }: { data: ArrayBuffer | string }) => {
    // Text is no frame: the reader says so.
    if (!isOver) events.message(typeof data === "string" ? new Uint8Array(0) : new Uint8Array(data));
  });
  socket.addEventListener("close", ({ code, reason }: { code: number; reason: string }) => void end(code, reason));
  // Where a handshake fails, some runtimes give no close.
  socket.addEventListener("error", ({ message }: { message?: string }) => {
    if (!isOpen) void end(ABNORMAL, message ?? "");
  });
  const client: ClientSocket = {
    send: (frame) => socket.send(frame),
    close: () => socket.close(1000, ""),
    drop() {
      if (socket.terminate !== undefined) socket.terminate();
      else socket.close();
      void end(ABNORMAL, "given up");
    },
  };
  return { client, fail: (reason) => void end(ABNORMAL, reason) };
}

/** Why a server refuses upgrades: a WebSocket does not tell, an ordinary request does. */
async function refusalOf(url: URL, credential: Credential | undefined): Promise<number | undefined> {
  const plain = new URL(url);
  plain.protocol = url.protocol === "wss:" ? "https:" : "http:";
  try {
    const { status, body } = await fetch(plain, { headers: headersOf(credential) });
    await body?.cancel();
    return status;
  } catch {
    return undefined;
  }
}

function headersOf(credential: Credential | undefined): Record<string, string> {
  if (credential === undefined) return {};
  const { kind, text } = credential;
  return kind === "key" ? { "x-api-key": text } : { authorization: `Bearer ${text}` };
}

function isNode(): boolean {
  const { process, Bun, Deno } = globalThis as {
    process?: { versions?: { node?: string } };
    Bun?: unknown;
    Deno?: unknown;
  };
  return process?.versions?.node !== undefined && Bun === undefined && Deno === undefined;
}

async function nodeSockets(): Promise<NodeSocketModule | undefined> {
  try {
    return (await import("ws")) as unknown as NodeSocketModule;
  } catch {
    return undefined;
  }
}

function base64url(text: string): string {
  const binary = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
