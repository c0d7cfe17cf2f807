/** The stores: open, create, import, download, delete. */

import { arrange, button, create, element, input } from "../page/elements.ts";
import { sized } from "../page/figures.ts";
import { ask, report, say } from "../page/messages.ts";
import { BENCHMARK_STORE } from "./benchmark.ts";
import { downloadImage, importImage, removeStore, storeFiles } from "./files.ts";
import type { Session } from "./session.ts";

/** How often the list looks what there is: stores grow, and other tabs make some. */
const LOOK_MS = 2_000;

/** Sets the panel up and shows what there is. */
export function startStores(session: Session): void {
  const list = element("store-list", HTMLUListElement);
  const name = input("store-name");
  const file = input("store-file");

  session.onChange(() => {
    showOpened(session);
    void showFiles(session, list);
  });
  showOpened(session);
  void showFiles(session, list);
  setInterval(() => {
    if (!document.hidden) void showFiles(session, list);
  }, LOOK_MS);

  element("store-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = name.value.trim();
    void attempt(async () => {
      if (/[/\\]|^\.{0,2}$/.test(wanted)) {
        throw new Error("The name of a store is the name of a file, without / and \\.");
      }
      await session.use(wanted, { create: true });
      name.value = "";
      say(`${wanted} is open.`);
    });
  });

  list.addEventListener("click", (event) => {
    const chosen = (event.target as HTMLElement).closest("button")?.dataset["name"];
    if (chosen === undefined || chosen === session.name) return;
    void attempt(async () => {
      await session.use(chosen, { create: false });
      say(`${chosen} is open.`);
    });
  });
  list.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    const buttons = [...list.querySelectorAll("button")];
    buttons[buttons.indexOf(document.activeElement as HTMLButtonElement) + step]?.focus();
    event.preventDefault();
  });

  button("close").addEventListener("click", () => {
    const closing = session.name;
    void attempt(async () => {
      await session.close();
      say(`${closing} is closed.`);
    });
  });
  button("download").addEventListener("click", () => {
    void attempt(async () => {
      say("Closing the store for a whole image …");
      await session.withoutStore(downloadImage);
      say(`${session.name} was handed to the browser as a download.`);
    });
  });
  button("remove").addEventListener("click", () => void attempt(() => remove(session)));

  file.addEventListener("change", () => {
    const [chosen] = file.files ?? [];
    if (chosen) void attempt(() => take(session, chosen));
    file.value = "";
  });
  startDropping((dropped) => void attempt(() => take(session, dropped)));
}

/** Imports an image and opens it. An image that does not open is not kept. */
async function take(session: Session, file: File): Promise<void> {
  say(`Importing ${file.name} (${sized(file.size)}) …`);
  const name = await importImage(file);
  try {
    await session.use(name, { create: false });
  } catch (error) {
    await removeStore(name).catch(() => undefined);
    throw error;
  }
  say(name === file.name ? `${name} was imported and is open.` : `${file.name} was imported as ${name} and is open.`);
}

async function remove(session: Session): Promise<void> {
  const { name } = session;
  if (name === undefined) return;
  if (
    !(await ask(`Delete the store ${name} with all its records? Download it first if you want to keep it.`, "Delete"))
  ) {
    return;
  }
  await session.remove();
  await showFiles(session, element("store-list", HTMLUListElement));
  say(`${name} was deleted.`);
}

/** A whole page to drop files on. */
function startDropping(take: (file: File) => void): void {
  const holdsFile = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragover", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!holdsFile(event)) return;
    event.preventDefault();
    const [dropped] = event.dataTransfer?.files ?? [];
    if (dropped) take(dropped);
  });
}

function showOpened(session: Session): void {
  const isOpen = session.name !== undefined;
  document.body.classList.toggle("has-store", isOpen);
  element("opened-name", HTMLHeadingElement).textContent = session.name ?? "No store is open";
  for (const id of ["download", "close", "remove"]) button(id).disabled = !session.connection;
}

/** A look that was overtaken by a later one shows nothing. */
let lookCount = 0;

async function showFiles(session: Session, list: HTMLUListElement): Promise<void> {
  const look = ++lookCount;
  try {
    const files = (await storeFiles()).filter(({ name }) => name !== BENCHMARK_STORE);
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    if (look !== lookCount) return;
    element("store-quota", HTMLParagraphElement).textContent =
      `This origin uses ${sized(usage)} of the ${sized(quota)} that the browser allows.`;
    element("store-none", HTMLParagraphElement).hidden = files.length > 0;
    const present = new Map([...list.querySelectorAll("button")].map((choose) => [choose.dataset["name"], choose]));
    arrange(
      list,
      files.map(({ name, size }) => {
        const choose = present.get(name) ?? newChoice(name);
        (choose.lastElementChild as HTMLElement).textContent = sized(size);
        if (name === session.name) choose.setAttribute("aria-current", "true");
        else choose.removeAttribute("aria-current");
        return choose.parentElement as HTMLElement;
      }),
    );
  } catch (error) {
    report(error);
  }
}

/** The button that opens a store, in an item of the list. */
function newChoice(name: string): HTMLButtonElement {
  const choose = create("button");
  choose.type = "button";
  choose.dataset["name"] = name;
  const extent = create("span");
  extent.className = "hint";
  choose.append(create("span", name), extent);
  create("li").append(choose);
  return choose;
}

async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    report(error);
  }
}
