/**
 * The application that every bundler builds: the ten lines of the README in a worker of its own, and a connection from the
 * page. It leaves what came of it in `globalThis.outcome`.
 */
import { tenLines } from "./project.ts";

/** The script of its page. */
export const MAIN = `
import { connect } from "cairn-kv";

async function work() {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const printed = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  const connection = await connect("connected.cairn");
  await connection.put("user:4", "Edith");
  const value = await connection.get("user:4");
  await connection.close();
  return { printed, value };
}
work().catch((error) => String(error)).then((outcome) => {
  globalThis.outcome = outcome;
});
`;

/** What `globalThis.outcome` is once all of it went well. */
export const OUTCOME = { printed: ["user:2 Grace", "user:3 Barbara"], value: "Edith" };

/** The ten lines as a worker, which answers with what they print. */
export function workerText(): string {
  const [imports, ...lines] = tenLines().split("\n");
  return `${imports}
const printed = [];
const console = { log: (...words) => printed.push(words.join(" ")) };
async function work() {
${lines.join("\n")}
}
work().then(() => postMessage(printed), (error) => postMessage(String(error)));
`;
}
