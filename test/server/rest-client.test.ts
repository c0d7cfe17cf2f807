/** What the published client asks of a server, by the client itself and over a socket. */
import { HPKVRestClient } from "@hpkv/rest-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KEYS, type Served, serve } from "./rest-harness.ts";

interface ClientError {
  code?: string;
  status?: number;
  message: string;
}

let served: Served;
let client: HPKVRestClient;
let url: string;
const P = "suite:";

beforeAll(async () => {
  served = await serve();
  url = await served.listen();
  client = new HPKVRestClient(url, "http://127.0.0.1:9", KEYS.admin.text);
});
afterAll(() => served.close());

async function failing(call: Promise<unknown>): Promise<ClientError> {
  return call.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: unknown) => error as ClientError,
  );
}

describe("the client of HPKV", () => {
  test("sets and gets text", async () => {
    await client.set(`${P}a`, "text");
    expect(await client.get(`${P}a`)).toEqual({ key: `${P}a`, value: "text" });
  });

  test("sets and gets objects", async () => {
    await client.set(`${P}o`, { name: "Ada", list: [1, 2] });
    expect(JSON.parse((await client.get(`${P}o`)).value as string)).toEqual({ name: "Ada", list: [1, 2] });
  });

  test("deletes, and fails to get what is gone", async () => {
    await client.set(`${P}d`, "x");
    await client.delete(`${P}d`);
    expect(await failing(client.get(`${P}d`))).toMatchObject({ code: "NOT_FOUND", status: 404 });
    expect((await failing(client.delete(`${P}d`))).message).toContain("Record not found");
  });

  test("fails to get what never was", async () => {
    expect(await failing(client.get(`${P}never`))).toMatchObject({ code: "NOT_FOUND" });
  });

  test("merges objects, nested ones, and replaces arrays", async () => {
    await client.set(`${P}m`, { a: 1, nested: { x: 1, y: 2 }, list: [1, 2] });
    await client.set(`${P}m`, { b: 2, nested: { y: 3 }, list: [3] }, true);
    expect(JSON.parse((await client.get(`${P}m`)).value as string)).toEqual({
      a: 1,
      b: 2,
      nested: { x: 1, y: 3 },
      list: [3],
    });
  });

  test("appends text", async () => {
    await client.set(`${P}t`, "Hello ");
    await client.set(`${P}t`, "World!", true);
    expect((await client.get(`${P}t`)).value).toBe("Hello World!");
  });

  test("increments and decrements", async () => {
    await client.set(`${P}n`, "10");
    expect((await client.atomicIncrement(`${P}n`, 5)).result).toBe(15);
    expect((await client.atomicIncrement(`${P}n`, -3)).result).toBe(12);
  });

  test("reads ranges in order, with a limit, an empty one, and counts", async () => {
    for (const i of [3, 1, 5, 2, 4]) await client.set(`${P}r:${i}`, `${i}`);
    const all = await client.range(`${P}r:1`, `${P}r:5`);
    expect(all.records.map(({ value }) => value).join("")).toBe("12345");
    expect([all.count, all.truncated]).toEqual([5, false]);
    const some = await client.range(`${P}r:1`, `${P}r:5`, 2);
    expect([some.records.length, some.count, some.truncated]).toEqual([2, 2, true]);
    const none = await client.range(`${P}zz`, `${P}zzz`);
    expect([none.records, none.count, none.truncated]).toEqual([[], 0, false]);
  });

  test.each(["we/ird key", "a%^&*()b", "q?x=1&y=2#f", "ünïcödé 日本語 😀", "a+b", "sl\\ash", '"quote"', "50%25"])(
    "takes the key %s in every call",
    async (key) => {
      const whole = `${P}${key}`;
      await client.set(whole, key);
      expect(await client.get(whole)).toEqual({ key: whole, value: key });
      const { records } = await client.range(whole, whole);
      expect(records).toEqual([{ key: whole, value: key }]);
      await client.delete(whole);
    },
  );

  test("is refused an empty value, and one of exactly 102,400 bytes", async () => {
    expect(await failing(client.set(`${P}e`, ""))).toMatchObject({ code: "BAD_REQUEST" });
    expect(await failing(client.set(`${P}l`, "x".repeat(102_400)))).toMatchObject({ code: "BAD_REQUEST" });
    await client.set(`${P}l`, "x".repeat(102_399));
  });

  test("is refused with a key that does not count", async () => {
    const stranger = new HPKVRestClient(url, "http://127.0.0.1:9", "nobody");
    expect(await failing(stranger.get(`${P}a`))).toMatchObject({ code: "UNAUTHORIZED", status: 401 });
  });

  test("works with a base that ends with a slash", async () => {
    const slashed = new HPKVRestClient(`${url}/`, "http://127.0.0.1:9", KEYS.admin.text);
    await slashed.set(`${P}s`, "x");
    expect((await slashed.range(`${P}s`, `${P}s`)).count).toBe(1);
  });
});
