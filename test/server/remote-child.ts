/** A server as a process: `node remote-child.mjs STORE PORT`. Says its port once it listens. The key `secret` may do everything. */
import { open } from "cairn-kv";
import { key, serve } from "./remote-server.ts";

const [path = "", port = "0"] = process.argv.slice(2);
const store = await open(path, { memoryBytes: 64 * 1024 * 1024, flushIntervalMs: 250, history: { ms: 600_000 } });
const server = await serve(store, { keys: { secret: key("whole") }, port: Number(port) });
console.log(server.port);
process.stdin.on("data", () => {
  void server.close().then(() => process.exit(0));
});
