/** One record that is served: with JSON that is checked, its time to live, and only what the API key may do. */
import { labelOf } from "../../../page/bytes.ts";
import { button, element } from "../../../page/elements.ts";
import { ask } from "../../../page/messages.ts";
import { Refusal } from "../../../page/reason.ts";
import { RecordForm } from "../../../page/record-form.ts";
import type { Api } from "./api.ts";
import { Expiry } from "./expiry.ts";
import { faultOf, isDocument, laidOut } from "./json-text.ts";
import { deleteRecord, type RemoteRecord, readRecord, writeRecord } from "./record.ts";
import type { Session } from "./session.ts";

/** A form over one record of the tenant. */
export class RemoteRecordForm extends RecordForm<RemoteRecord> {
  private readonly session: Session;
  private readonly fault = element("record-fault", HTMLParagraphElement);
  private readonly expiry = new Expiry();

  constructor(session: Session) {
    super();
    this.session = session;
    this.value.addEventListener("input", () => this.check());
    button("record-layout").addEventListener("click", () => {
      if (faultOf(this.value.value) === undefined) this.put(laidOut(this.value.value), "json");
    });
  }

  private get api(): Api {
    const { api } = this.session;
    if (api === undefined) throw new Refusal("Nobody has signed in.");
    return api;
  }

  protected override async read(key: Uint8Array): Promise<RemoteRecord | undefined> {
    const { api } = this;
    const [record, verbs] = await Promise.all([readRecord(api, key), this.verbsFor(api, key)]);
    return record && { ...record, mayWrite: verbs.includes("write"), mayDelete: verbs.includes("delete") };
  }

  protected override async write(
    key: Uint8Array,
    value: Uint8Array<ArrayBuffer>,
    seen: RemoteRecord | undefined,
  ): Promise<RemoteRecord | undefined> {
    const { api } = this;
    const { ttlMs } = this.expiry;
    let tag = await writeRecord(api, key, value, seen?.tag ?? null, ttlMs);
    if (tag === undefined) {
      const question =
        seen === undefined
          ? `There is a record ${labelOf(key)} already. Replace its value?`
          : `Somebody else has changed or deleted ${labelOf(key)} since it was read. Write this value nevertheless?`;
      if (await ask(question, "Replace")) tag = await writeRecord(api, key, value, undefined, ttlMs);
    }
    if (tag === undefined) return undefined;
    const expiresAt = ttlMs === undefined ? undefined : Date.now() + ttlMs;
    const mayDelete = seen?.mayDelete === true || this.session.mayAll("delete");
    return { key, value, size: value.length, isWhole: true, mayWrite: true, mayDelete, tag, expiresAt };
  }

  protected override delete(key: Uint8Array): Promise<boolean> {
    return deleteRecord(this.api, key);
  }

  protected override take(record: RemoteRecord | undefined): void {
    super.take(record);
    this.expiry.show(record?.expiresAt);
  }

  protected override put(text: string, form: "text" | "json" | "hex"): void {
    super.put(text, form);
    this.check();
  }

  protected override typed(): Uint8Array<ArrayBuffer> {
    const fault = this.present === "json" ? faultOf(this.value.value) : undefined;
    if (fault !== undefined) throw new Refusal(`This is no JSON, and was not saved: ${fault}`);
    return super.typed();
  }

  protected override formOf(text: string, { isWhole }: RemoteRecord): "text" | "json" {
    return isWhole && isDocument(text) ? "json" : "text";
  }

  protected override noteOf(record: RemoteRecord): string {
    const note = super.noteOf(record);
    return record.isWhole && !record.mayWrite ? `${note}; this API key may only read it` : note;
  }

  protected override lock(): void {
    super.lock();
    this.expiry.lock(true);
  }

  protected override unlock(): void {
    super.unlock();
    this.expiry.lock(this.value.readOnly);
    this.check();
  }

  private async verbsFor(api: Api, key: Uint8Array): Promise<string[]> {
    const { all } = this.session.rights;
    if (all.includes("write") && all.includes("delete")) return all;
    return (await api.rights({ key })).key ?? [];
  }

  /** Says while it is typed what is wrong with JSON. */
  private check(): void {
    const isJson = this.present === "json";
    const fault = isJson ? faultOf(this.value.value) : undefined;
    this.fault.textContent = fault ?? "";
    this.fault.hidden = fault === undefined;
    this.value.setAttribute("aria-invalid", String(fault !== undefined));
    button("record-layout").hidden = !isJson;
    button("record-layout").disabled = fault !== undefined || this.value.readOnly;
  }
}
