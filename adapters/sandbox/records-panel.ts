/** The records of the open store. */
import { button, element, input } from "../page/elements.ts";
import { counted } from "../page/figures.ts";
import { report, say } from "../page/messages.ts";
import { reasonOf } from "../page/reason.ts";
import { startRecordList } from "../page/record-list.ts";
import { StoreRecordForm } from "./record-form.ts";
import { addSamples } from "./sample-records.ts";
import type { Session } from "./session.ts";

/** How often the panel looks whether somebody else has written, another tab perhaps. */
const LOOK_MS = 1_000;

/** Sets the panel up. */
export function startRecords(session: Session): void {
  const list = startRecordList(
    {
      keys: () => session.connection,
      isCurrent: async ({ version }) => (await session.open.stats()).version === version,
      reasonOf,
      keepsList: true,
      searchMs: 80,
    },
    new StoreRecordForm(session),
  );
  session.onChange(list.restart);
  setInterval(() => void list.look(), LOOK_MS);

  element("sample-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const add = button("sample-add");
    const count = input("sample-count").valueAsNumber;
    add.disabled = true;
    addSamples(session.open, count, (done) => say(`Adding sample records: ${counted(done)} of ${counted(count)}`))
      .then((ms) => say(`Added ${counted(count)} sample records, durably, in ${counted(ms)} ms.`))
      .catch(report)
      .finally(() => {
        add.disabled = false;
        list.refresh();
      });
  });
}
