/**
 * The application that every bundler builds: the README's ten lines in a worker of its own, and its lines for a page on the
 * page. It leaves what they print in `globalThis.outcome`.
 */
import { pageLines, tenLines } from "./project.ts";

/** What `globalThis.outcome` is once all of it went well. */
export const OUTCOME = {
  worker: ["user:2 Grace", "user:3 Barbara"],
  page: ["user:1 Ada", "user:2 Grace"],
};

/** The program as a function `work`, and what it printed in `printed`. */
function asFunction(program: string): string {
  const [imports, ...lines] = program.split("\n");
  return `${imports}
const printed = [];
const console = { log: (...words) => printed.push(words.join(" ")) };
async function work() {
${lines.join("\n")}
}
`;
}

/** The script of its page. `start` is what follows the definition of the function `show`. */
export function mainText(start = "show();"): string {
  return `${asFunction(pageLines().replace("app.cairn", "page.cairn"))}
async function both() {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const printedByWorker = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  await work();
  return { worker: printedByWorker, page: printed };
}
function show() {
  both().catch((error) => String(error)).then((outcome) => {
    globalThis.outcome = outcome;
  });
}
${start}
`;
}

/** Its worker, which answers with what its program prints. */
export function workerText(): string {
  return `${asFunction(tenLines())}
work().then(() => postMessage(printed), (error) => postMessage(String(error)));
`;
}
