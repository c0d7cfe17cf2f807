/** The worker that is killed: it puts records, many at once, and tells which are durable, until it is no more. */
import { open } from "../../hosts/browser.ts";
import { reasonOf } from "../page/reason.ts";
import { type CrashNews, type CrashOrder, crashKey, crashValue } from "./crash.ts";

/** Puts under way at any time. */
const WRITER_COUNT = 32;

const tell = (news: CrashNews): void => postMessage(news);

addEventListener("message", (event: MessageEvent<CrashOrder>) => {
  write(event.data).catch((error) => {
    tell({ type: "failed", reason: reasonOf(error) });
  });
});

async function write({ store: name, prefix }: CrashOrder): Promise<void> {
  const store = await open(name, { create: false });
  tell({ type: "writing" });
  let next = 0;
  const writer = async (): Promise<void> => {
    for (;;) {
      const number = next++;
      await store.put(crashKey(prefix, number), crashValue(prefix, number));
      tell({ type: "acknowledged", number });
    }
  };
  await Promise.all(Array.from({ length: WRITER_COUNT }, writer));
}
