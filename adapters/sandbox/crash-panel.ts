/** The crash: a worker that writes is killed, and what it had acknowledged is looked for. */
import { bytesOf } from "../page/bytes.ts";
import { button, element } from "../page/elements.ts";
import { counted, lasted } from "../page/figures.ts";
import { say } from "../page/messages.ts";
import { reasonOf } from "../page/reason.ts";
import { CRASH_PREFIX, type CrashNews, type CrashOrder, crashKey, crashValue } from "./crash.ts";
import type { Connection, Session } from "./session.ts";

const FIGURES = ["acknowledged", "found", "lost", "kept", "ms"] as const;
const decoder = new TextDecoder();

/** What came back. */
interface Aftermath {
  /** Acknowledged records that are there with their value, and those that are not. */
  found: number;
  lost: number;
  /** Records that were under way when the worker died, and are there whole. */
  kept: number;
  /** Records of the run with another value than was written. */
  wrong: number;
}

/** Sets the panel up. */
export function startCrash(session: Session): void {
  const start = button("crash-start");
  const kill = button("crash-kill");
  const clear = button("crash-clear");
  const verdict = element("crash-verdict", HTMLParagraphElement);
  const note = element("crash-note", HTMLOutputElement);
  const tell = (text: string, isBad = false): void => {
    note.textContent = text;
    note.classList.toggle("bad", isBad);
  };
  const figure = (name: (typeof FIGURES)[number], text: string): void => {
    element(`crash-${name}`, HTMLElement).textContent = text;
  };

  let isRunning = false;
  start.addEventListener("click", () => {
    isRunning = true;
    start.disabled = true;
    verdict.textContent = "";
    for (const name of FIGURES) figure(name, "–");
    run()
      .catch((error) => tell(reasonOf(error), true))
      .finally(() => {
        isRunning = false;
        start.disabled = !session.connection;
        kill.disabled = true;
      });
  });

  async function run(): Promise<void> {
    const prefix = `${CRASH_PREFIX}${Date.now().toString(36)}:`;
    tell("Handing the store to the worker …");
    let reopening = 0;
    const acknowledged = await session.withoutStore(async (store) => {
      const numbers = await writeUntilKilled({ store, prefix });
      tell("Killed. Opening the store again …");
      reopening = performance.now();
      return numbers;
    });
    figure("ms", lasted(performance.now() - reopening));
    figure("acknowledged", counted(acknowledged.size));
    const { found, lost, kept, wrong } = await look(session.open, prefix, acknowledged);
    figure("found", counted(found));
    figure("lost", counted(lost));
    figure("kept", counted(kept));
    const isWhole = lost === 0 && wrong === 0 && acknowledged.size > 0;
    verdict.className = isWhole ? "good" : "bad";
    verdict.textContent = isWhole
      ? "Nothing that had been acknowledged was lost."
      : `${counted(lost)} acknowledged writes are missing, ${counted(wrong)} records hold what nobody wrote. This is a bug.`;
    tell("");
    clear.disabled = false;
  }

  /** Lets the worker write until the button kills it: the numbers of the records that were acknowledged until then. */
  function writeUntilKilled(order: CrashOrder): Promise<Set<number>> {
    const worker = new Worker(new URL("./crash-worker.ts", import.meta.url), { type: "module" });
    const acknowledged = new Set<number>();
    return new Promise<Set<number>>((resolve, reject) => {
      worker.addEventListener("message", ({ data }: MessageEvent<CrashNews>) => {
        if (data.type === "failed") reject(new Error(data.reason));
        else if (data.type === "writing") tell("Writing …");
        else {
          acknowledged.add(data.number);
          figure("acknowledged", counted(acknowledged.size));
          // There is something to lose from now on.
          if (kill.disabled) {
            kill.disabled = false;
            if (document.activeElement === document.body || document.activeElement === start) kill.focus();
          }
        }
      });
      worker.addEventListener("error", (event) => {
        reject(new Error(event.message || "The worker could not be started."));
      });
      kill.onclick = () => resolve(acknowledged);
      worker.postMessage(order);
    }).finally(() => {
      worker.terminate();
      kill.disabled = true;
    });
  }

  clear.addEventListener("click", () => {
    clear.disabled = true;
    session.open
      .clear({ prefix: bytesOf(CRASH_PREFIX, "text") })
      .then((count) => say(`Deleted ${counted(count)} records of crash runs.`))
      .catch((error) => tell(reasonOf(error), true));
  });

  session.onChange(() => {
    start.disabled = isRunning || !session.connection;
    clear.disabled = true;
  });
}

/** Reads all records of a run and compares them with what was acknowledged. */
async function look(connection: Connection, prefix: string, acknowledged: ReadonlySet<number>): Promise<Aftermath> {
  let found = 0;
  let kept = 0;
  let wrong = 0;
  for await (const [key, value] of connection.entries({ prefix: bytesOf(prefix, "text") })) {
    const number = Number(decoder.decode(key).slice(prefix.length));
    if (decoder.decode(key) !== crashKey(prefix, number) || decoder.decode(value) !== crashValue(prefix, number)) {
      wrong++;
    } else if (acknowledged.has(number)) found++;
    else kept++;
  }
  return { found, lost: acknowledged.size - found, kept, wrong };
}
