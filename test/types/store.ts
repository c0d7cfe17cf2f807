/**
 * What compiles, and what does not: `npm run check:types` fails where an `@ts-expect-error` stands over a line that is
 * accepted. Nothing here is run.
 */

import type {
  Batch,
  Codec,
  Connection,
  ConnectionSnapshot,
  Entry,
  Snapshot,
  Store,
  Transaction,
  Tuple,
} from "../../hosts/node.ts";
import { open } from "../../hosts/node.ts";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

interface User {
  name: string;
}
declare const userCodec: Codec<User>;

export async function inferred(): Promise<void> {
  const plain = await open("a");
  same<typeof plain, Store<string, string>>(true);
  plain.set("k", "v");
  // @ts-expect-error a value of text
  plain.set("k", 5);
  // @ts-expect-error a key of text
  plain.get(5);
  // @ts-expect-error a bound is a key
  plain.keys({ gte: 5 });
  // @ts-expect-error there is no such option
  plain.keys({ from: "a" });
  // @ts-expect-error operations are typed
  plain.batch([{ type: "set", key: "a", value: 5 }]);

  const bytes = await open("a", { keyEncoding: "binary", valueEncoding: "binary" });
  same<typeof bytes, Store<Uint8Array, Uint8Array>>(true);
  // @ts-expect-error a key of bytes
  bytes.has("k");

  const tuples = await open("a", { keyEncoding: "tuple", valueEncoding: userCodec });
  same<typeof tuples, Store<Tuple, User>>(true);
  tuples.set(["user", 1n, null, true, [2, Uint8Array.of(1)]], { name: "Ada" });
  tuples.entries({ prefix: ["user"] });
  same<ReturnType<typeof tuples.get>, User | undefined>(true);
  // @ts-expect-error no element of a tuple
  tuples.get([new Date()]);
  // @ts-expect-error not a user
  tuples.set(["user"], { age: 5 });
  // @ts-expect-error a tuple is for keys
  await open("a", { valueEncoding: "tuple" });
  // @ts-expect-error there is no such encoding
  await open("a", { keyEncoding: "utf16" });

  const users = plain.sub("users", { keyEncoding: "tuple", valueEncoding: userCodec });
  same<typeof users, Store<Tuple, User>>(true);
  const texts = plain.sub("texts");
  same<typeof texts, Store<string, string>>(true);
  const snapshot = tuples.snapshot();
  same<typeof snapshot, Snapshot<Tuple, User>>(true);
  plain.keys({ snapshot });
  // @ts-expect-error a snapshot is not writable
  snapshot.set(["a"], { name: "Ada" });
  same<ReturnType<typeof snapshot.in<string, string>>, Snapshot<string, string>>(true);
  // @ts-expect-error a range of a snapshot names no other
  snapshot.keys({ snapshot });

  const count = plain.transaction((tx) => {
    same<typeof tx, Transaction<string, string>>(true);
    tx.in(users).set(["a"], { name: "Ada" });
    // @ts-expect-error a value of text
    tx.set("a", 5);
    // @ts-expect-error not a user
    tx.in(users).set(["a"], "Ada");
    return tx.count();
  });
  same<typeof count, number>(true);
  plain.transaction((tx) => {
    same<ReturnType<typeof tx.getEntry>, Entry<string> | undefined>(true);
    tx.set("a", "b", { ifVersion: null, expiresIn: 5, timestamp: 1 });
    // @ts-expect-error there is no such option
    tx.set("a", "b", { ttl: 5 });
    // @ts-expect-error a deletion has no expiry
    tx.delete("a", { expiresIn: 5 });
    // @ts-expect-error no user
    tx.in(users).update(["a"], () => "Ada");
    // @ts-expect-error numbers are bigints
    tx.increment("a", 1);
  });
  const batch = plain.batch();
  same<typeof batch, Batch<string, string>>(true);
  batch.in(users).set(["a"], { name: "Ada" });
  // @ts-expect-error a key of the namespace
  batch.in(users).delete("a");
  // @ts-expect-error not a user
  batch.in(users).set(["a"], "Ada");
  plain.batch([{ type: "set", key: ["a"], value: { name: "Ada" }, sub: users }]);
  const name = await tuples.transact(async (tx) => tx.get(["a"])?.name);
  same<typeof name, string | undefined>(true);
  // @ts-expect-error retries is a number
  await plain.transact(async () => 1, { retries: "5" });

  for (const [key, value] of tuples.entries()) {
    same<typeof key, Tuple>(true);
    same<typeof value, User>(true);
  }
}

export async function inferredOnPages(page: Connection): Promise<void> {
  const users = page.sub("users", { keyEncoding: "tuple", valueEncoding: userCodec });
  same<typeof users, Connection<Tuple, User>>(true);
  // @ts-expect-error a tuple
  await users.get("a");
  const snapshot = await users.snapshot();
  same<typeof snapshot, ConnectionSnapshot<Tuple, User>>(true);
  // @ts-expect-error a snapshot is not writable
  await snapshot.set(["a"], { name: "Ada" });
  const name = await page.transact(async (tx) => {
    // @ts-expect-error a value of text
    await tx.set("a", 5);
    return (await tx.in(users).get(["a"]))?.name;
  });
  same<typeof name, string | undefined>(true);
  page.batch().in(users).set(["a"], { name: "Ada" });
}
