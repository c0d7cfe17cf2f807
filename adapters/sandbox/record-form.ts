/** One record of the open store. */
import { labelOf } from "../page/bytes.ts";
import { ask } from "../page/messages.ts";
import { EDITED_SIZE_MAX, RecordForm, SHOWN_SIZE_MAX, type ShownRecord } from "../page/record-form.ts";
import type { Session } from "./session.ts";

/** A form over one record of the open store. */
export class StoreRecordForm extends RecordForm {
  private readonly session: Session;

  constructor(session: Session) {
    super();
    this.session = session;
  }

  protected override async read(key: Uint8Array): Promise<ShownRecord | undefined> {
    const value = await this.session.open.get(key);
    return value && recordOf(key, value);
  }

  protected override async write(
    key: Uint8Array,
    value: Uint8Array,
    seen: ShownRecord | undefined,
  ): Promise<ShownRecord | undefined> {
    const { open } = this.session;
    // An empty key is left to the store, which says what a key may be.
    if (seen === undefined && key.length > 0 && (await open.has(key))) {
      const question = `There is a record ${labelOf(key)} already. Replace its value?`;
      if (!(await ask(question, "Replace"))) return undefined;
    }
    await open.put(key, value);
    return recordOf(key, value);
  }

  protected override delete(key: Uint8Array): Promise<boolean> {
    return this.session.open.del(key);
  }
}

function recordOf(key: Uint8Array, value: Uint8Array): ShownRecord {
  const isWhole = value.length <= EDITED_SIZE_MAX;
  const shown = isWhole ? value : value.subarray(0, SHOWN_SIZE_MAX);
  return { key, value: shown, size: value.length, isWhole, mayWrite: true, mayDelete: true };
}
