/** Verify: everything that the open store is made of is walked, and what is wrong is shown with its place. */
import type { FaultPlace, VerifyFault, VerifyProgress, VerifyReport } from "../../hosts/browser.ts";
import { labelOf } from "../page/bytes.ts";
import { button, create, element } from "../page/elements.ts";
import { counted, lasted } from "../page/figures.ts";
import { reasonOf } from "../page/reason.ts";
import type { Session } from "./session.ts";

const PHASES = { log: "Reading blocks …", index: "Walking the indexes …" } as const;
const FIGURES = {
  "verify-blocks": ({ blocksRead }) => counted(blocksRead),
  "verify-buffered": ({ blocksBuffered }) => counted(blocksBuffered),
  "verify-records": ({ recordsRead }) => counted(recordsRead),
  "verify-keys": ({ keys }) => counted(keys),
  "verify-fault-count": ({ faultCount }) => counted(faultCount),
  "verify-ms": ({ ms }) => lasted(ms),
} as const satisfies Record<string, (report: VerifyReport) => string>;

/** Sets the panel up. */
export function startVerify(session: Session): void {
  const run = button("verify-run");
  const bar = element("verify-progress", HTMLProgressElement);
  const note = element("verify-note", HTMLOutputElement);
  const steps = element("verify-steps", HTMLSpanElement);
  const verdict = element("verify-verdict", HTMLParagraphElement);
  const report = element("verify-report", HTMLDivElement);
  let isRunning = false;
  /** The store that the note speaks of. */
  let verified: string | undefined;

  run.addEventListener("click", () => {
    const { connection } = session;
    if (isRunning || !connection) return;
    verified = session.name;
    clear();
    setRunning(true);
    const isCurrent = (): boolean => session.connection === connection;
    connection
      .verify({ onProgress: (progress) => isCurrent() && showProgress(progress) })
      .then((found) => isCurrent() && show(found))
      .catch((error) => isCurrent() && tell(reasonOf(error), true))
      .finally(() => isCurrent() && setRunning(false));
  });
  session.onChange(() => {
    const wasRunning = isRunning;
    clear();
    setRunning(false);
    if (wasRunning) tell("Not finished: the store was closed meanwhile.");
    else if (session.name !== verified) tell("");
  });

  function setRunning(running: boolean): void {
    isRunning = running;
    // It keeps the focus, which a disabled button would lose.
    run.ariaDisabled = String(running);
    bar.hidden = !running;
    bar.removeAttribute("value");
    steps.textContent = "";
    if (running) tell("Beginning …");
  }

  function clear(): void {
    verdict.textContent = "";
    report.hidden = true;
  }

  /** The note is read aloud, so it changes with the phase alone. */
  function showProgress({ phase, done, total }: VerifyProgress): void {
    if (note.textContent !== PHASES[phase]) tell(PHASES[phase]);
    bar.max = Math.max(1, total);
    bar.value = done;
    steps.textContent = `${counted(done)} of ${counted(total)}`;
  }

  function show(found: VerifyReport): void {
    tell("");
    for (const [id, text] of Object.entries(FIGURES)) element(id, HTMLElement).textContent = text(found);
    element("verify-totals", HTMLParagraphElement).hidden = found.totalsCompared;
    verdict.className = found.ok ? "good" : "bad";
    verdict.textContent = found.ok ? "No fault found." : faultsFound(found);
    element("verify-faults", HTMLOListElement).replaceChildren(...found.faults.map(entryOf));
    report.hidden = false;
  }

  function tell(text: string, isBad = false): void {
    note.textContent = text;
    note.classList.toggle("bad", isBad);
  }
}

function faultsFound({ faultCount, faults, truncated }: VerifyReport): string {
  const found = `${counted(faultCount)} ${faultCount === 1 ? "fault" : "faults"} found`;
  return truncated ? `${found}; the first ${counted(faults.length)} are listed.` : `${found}.`;
}

function entryOf({ kind, place, key, message }: VerifyFault): HTMLLIElement {
  const entry = create("li");
  const head = create("div");
  head.append(create("b", kind), " ", create("span", placed(place)));
  if (key) head.append(create("span", ", key "), create("code", labelOf(key)));
  entry.append(head, create("p", `${message}.`));
  return entry;
}

function placed(place: FaultPlace | undefined): string {
  if (!place) return "in memory";
  const offset = `offset ${counted(place.offset)}`;
  if (place.segment === undefined || place.block === undefined) return offset;
  return `segment ${counted(place.segment)}, block ${counted(place.block)}, ${offset}`;
}
