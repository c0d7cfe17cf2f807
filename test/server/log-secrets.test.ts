/** What the server logs while much is asked of it: nothing that is a secret, or a record. */
import { expect, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { codeOf } from "../store/harness.ts";
import { KEYS, NAMES, servedHere } from "./owasp-server.ts";
import { rawSocket } from "./raw-socket.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";

test("of a busy server hold no key of the API, token, value or record's key, at any level", async () => {
  const made = await servedHere({ riocPort: 0, riocTenant: "home" });
  const token = await made.token({ accessPattern: "^hidden" });
  const value = "hidden-value";
  for (const as of ["writer", "reader", "expired", undefined] as const) {
    await made.status(made.post("/record", { key: "hidden-record", value }, as));
    await made.status(made.ask("/record/hidden-record", as));
    await made.status(made.ask("/record?key=hidden-record", as));
    await made.status(made.ask(`/records?start=hidden-a&end=hidden-z&token=${token}`, as));
    await made.status(made.ask(`/hidden-record-elsewhere/hidden-record?${KEYS.operator.text}`, as));
  }
  await made.status(made.post("/record", `{"key":"hidden-record","value":"${value}`, "writer"));
  await made.status(made.ask("/record/a", undefined, { headers: { authorization: `Bearer ${token}x` } }));
  const socket = await rawSocket(`${made.url}/ws?token=${token}`);
  await socket.ask({ op: 2, key: "hidden-record", value });
  await socket.ask(`{"op":2,"key":"hidden-record","value":"${value}`);
  socket.close();
  await rawSocket(`${made.url}/ws?apiKey=${KEYS.expired.text}`).catch(() => undefined);
  const rioc = await RiocClient.open(made.riocPort);
  await rioc.send(joined(batch(1), operation(2, "hidden-record", value)));
  await rioc.reply();
  await rioc.send(new TextEncoder().encode(`hidden-record ${value} is no batch`));
  await rioc.closed;
  const client = await connect(made.url, { key: KEYS.writer.text });
  await client.put("hidden-record", value);
  await codeOf(() => client.increment("hidden-record"));
  await client.close();
  await made.store.close();
  await made.status(made.ask("/record/hidden-record", "writer"));
  const text = JSON.stringify(made.lines, (_, is) => (is instanceof Error ? `${is.message} ${is.stack}` : is));
  expect(made.lines.length).toBeGreaterThan(20);
  expect(new Set(made.lines.map(({ level }) => level)).size).toBeGreaterThanOrEqual(2);
  for (const name of NAMES) expect(text).not.toContain(KEYS[name].text.slice(KEYS[name].id.length + 8));
  for (const secret of [token, token.split(".")[2] as string, value, 'hidden-record"', "/hidden-record", "hidden-a"])
    expect(text).not.toContain(secret);
  const asked = made.lines.filter(({ message }) => message === "request");
  expect(asked[0]).toMatchObject({
    requestId: expect.any(String),
    method: "POST",
    operation: "POST /token/websocket",
    status: 200,
    ms: expect.any(Number),
    key: KEYS.operator.id,
  });
  expect(new Set(asked.map(({ requestId }) => requestId)).size).toBe(asked.length);
});
