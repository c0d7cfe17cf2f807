/** The benchmark: runs in a worker over a store of its own, then through a connection; a plot and a table. */
import { connect } from "../../hosts/browser.ts";
import { button, create, element } from "../page/elements.ts";
import { compact, counted, short } from "../page/figures.ts";
import { Plot, type Series } from "../page/plot.ts";
import { reasonOf } from "../page/reason.ts";
import {
  BENCHMARK_STORE,
  type BenchmarkNews,
  type BenchmarkOrder,
  type Figure,
  keyOf,
  scattered,
} from "./benchmark.ts";
import { removeStore } from "./files.ts";

const PAGE_COUNT = 2_000;
const PAGE_GROUP_COUNT = 100;
/** What of the work the plot shows: the rest is a few figures. */
const PLOTTED = ["set", "get", "entries", "put, 64 at once"];

/** Sets the panel up. */
export function startBenchmark(): void {
  const run = button("benchmark-run");
  const note = element("benchmark-note", HTMLOutputElement);
  const table = element("benchmark-figures", HTMLTableElement);
  const plot = new Plot(element("benchmark-plot", HTMLDivElement));
  const tell = (text: string, isBad = false): void => {
    note.textContent = text;
    note.classList.toggle("bad", isBad);
  };

  element("benchmark-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    void start();
  });

  async function start(): Promise<void> {
    const count = Number(element("benchmark-count", HTMLSelectElement).value);
    const valueSize = Number(element("benchmark-size", HTMLSelectElement).value);
    const series: Series[] = [];
    run.disabled = true;
    table.hidden = false;
    table.tBodies[0]?.replaceChildren();
    plot.show([]);
    tell("Running …");
    try {
      await removeLeftover();
      await runWorker({ count, valueSize }, (news) => {
        if (news.type === "figure") addFigure(table, news.figure);
        if (news.type !== "point" || !PLOTTED.includes(news.work)) return;
        const line = series.find(({ name }) => name === news.work);
        if (line) line.points.push(news.point);
        else series.push({ name: news.work, points: [news.point] });
        plot.show(series);
      });
      await runPage(count, (figure) => addFigure(table, figure));
      tell("Done.");
    } catch (error) {
      tell(reasonOf(error), true);
    } finally {
      await removeLeftover().catch((error) => tell(reasonOf(error), true));
      run.disabled = false;
    }
  }
}

/** Runs the worker's part to its end. */
function runWorker(order: BenchmarkOrder, hear: (news: BenchmarkNews) => void): Promise<void> {
  const worker = new Worker(new URL("./benchmark-worker.ts", import.meta.url), { type: "module" });
  const ended = new Promise<void>((resolve, reject) => {
    worker.addEventListener("message", ({ data }: MessageEvent<BenchmarkNews>) => {
      if (data.type === "done") resolve();
      else if (data.type === "failed") reject(new Error(data.reason));
      else hear(data);
    });
    worker.addEventListener("error", (event) => reject(new Error(event.message || "The worker could not be started.")));
  });
  worker.postMessage(order);
  return ended.finally(() => worker.terminate());
}

/** What the same store does through a connection: each call is a message to the worker and one back. */
async function runPage(count: number, hear: (figure: Figure) => void): Promise<void> {
  const connection = await connect(BENCHMARK_STORE, { create: false });
  try {
    const one = [...scattered(PAGE_COUNT, count)];
    let start = performance.now();
    for (const index of one) await connection.get(keyOf(index));
    hear({ work: "get, one by one", where: "page", count: one.length, ms: performance.now() - start });

    const many = [...scattered(PAGE_COUNT * 10, count)];
    start = performance.now();
    for (let first = 0; first < many.length; first += PAGE_GROUP_COUNT) {
      await Promise.all(many.slice(first, first + PAGE_GROUP_COUNT).map((index) => connection.get(keyOf(index))));
    }
    hear({ work: "get, 100 at once", where: "page", count: many.length, ms: performance.now() - start });
  } finally {
    await connection.close();
  }
}

/** Deletes what this run, or one that a closed page left behind, has written. */
async function removeLeftover(): Promise<void> {
  try {
    await removeStore(BENCHMARK_STORE);
  } catch (error) {
    if ((error as DOMException).name !== "NotFoundError") throw error;
  }
}

function addFigure(table: HTMLTableElement, { work, where, count, ms }: Figure): void {
  const row = create("tr");
  const name = create("th", work);
  name.scope = "row";
  // A clock that is rounded may say that no time has passed.
  const isMeasured = ms > 0;
  row.append(
    name,
    create("td", where),
    create("td", counted(count)),
    create("td", isMeasured ? compact((count * 1000) / ms) : "–"),
    create("td", isMeasured ? short((ms * 1000) / count) : "–"),
  );
  table.tBodies[0]?.append(row);
}
