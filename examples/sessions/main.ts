/**
 * A small site with sessions in cookies, which stay when it is stopped, or killed, and started again.
 *
 *   POST /login?user=NAME    begins a session (a real site asks for a password here)
 *   GET /                    greets its user, or 401
 *   POST /logout             ends it
 *   POST /logout-everywhere  ends all sessions of its user
 *
 *   node examples/sessions/main.ts sessions.cairn [PORT]      SESSION_MS is how long an unused session lives
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { Sessions } from "./sessions.ts";

const [path = "sessions.cairn", port = "0"] = process.argv.slice(2);
const sessions = await Sessions.open(path, Number(process.env["SESSION_MS"] ?? 3_600_000));

function answer(response: ServerResponse, status: number, text: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", ...headers }).end(`${text}\n`);
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  const call = `${request.method} ${pathname}`;
  if (call === "POST /login") {
    const user = searchParams.get("user");
    if (user === null || user === "") return answer(response, 400, "name a user");
    const token = await sessions.begin(user);
    const cookie = `session=${token}; Path=/; HttpOnly; SameSite=Lax`;
    return answer(response, 200, `welcome ${user}`, { "set-cookie": cookie });
  }
  const token = /(?:^|; )session=([\w-]+)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
  const session = sessions.use(token);
  if (session === undefined) return answer(response, 401, "log in first");
  if (call === "GET /") return answer(response, 200, `hello ${session.user}`);
  if (call === "POST /logout") {
    await sessions.end(token);
    return answer(response, 200, "goodbye");
  }
  if (call === "POST /logout-everywhere") {
    return answer(response, 200, `ended ${await sessions.endAll(session.user)} sessions`);
  }
  return answer(response, 404, "not found");
}

const server = createServer((request, response) => {
  handle(request, response).catch((error) => answer(response, 503, String(error)));
});
server.listen(Number(port), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

process.on("SIGTERM", () => {
  server.close(() => sessions.close().then(() => process.exit(0)));
  server.closeAllConnections();
});
