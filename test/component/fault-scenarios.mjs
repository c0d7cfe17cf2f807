/** Scenarios of guest.mjs in which the file system fails, or somebody else is at work beside the component. */
import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";

const SHIM = new URL("../peers/node_modules/@bytecodealliance/preview2-shim/dist/", import.meta.url);
/** Bytes that arguments and results of one call have. */
const ARENA_SIZE = 190 * 1024 * 1024;

/**
 * @typedef {object} Tools what guest.mjs offers
 * @property {string} folder
 * @property {(preopens: Record<string, string>) => Promise<any>} instantiate
 * @property {(component: any) => any} interfacesOf
 * @property {(call: () => unknown) => any} failureOf
 * @property {(text: string) => Uint8Array} bytes
 * @property {(found: Uint8Array | undefined) => string | null} text
 * @property {any} OPTIONS
 * @property {any} EVERYTHING
 */

/** Lets a method of WASI's descriptors do something else, given itself, until the function that this gives is called. */
async function descriptors() {
  const { filesystem } = await import(new URL("nodejs/index.js", SHIM).href);
  const { prototype } = filesystem.types.Descriptor;
  /**
   * @param {string} method
   * @param {(original: any) => (this: any, ...given: any[]) => unknown} make
   */
  const replace = (method, make) => {
    const original = prototype[method];
    prototype[method] = make(original);
    return () => {
      prototype[method] = original;
    };
  };
  /**
   * @param {string} method
   * @param {string} error
   */
  const failing = (method, error) =>
    replace(method, () => () => {
      throw error;
    });
  return { replace, failing };
}

/**
 * @param {Tools} tools
 * @returns {Record<string, (component: any, input: any) => unknown>}
 */
export function faultScenarios({ folder, instantiate, interfacesOf, failureOf, bytes, text, OPTIONS, EVERYTHING }) {
  /** What a failure is called: a code, or the first word of a text of `wasi:keyvalue`. @param {any} failure */
  const nameOf = (failure) => {
    if (failure === null) return null;
    if (failure.code !== undefined) return failure.code;
    const within = failure.tag === "store-error" ? failure.val : failure;
    return typeof within.val === "string" ? within.val.split(":")[0] : within.tag;
  };
  /** @param {(() => unknown)[]} calls */
  const namesOf = (calls) => calls.map((call) => nameOf(failureOf(call)));
  /** A folder of its own, with an instance that sees it as `/data`. @param {string} name */
  const place = async (name) => {
    const path = `${folder}/${name}`;
    mkdirSync(path, { recursive: true });
    return { path, ...interfacesOf(await instantiate({ "/data": path })) };
  };

  return {
    /** Reads that fail, of values that must be read: which calls say so, and that all of them work afterwards. */
    async failingReads(_, { name }) {
      const { Store, buckets, atomics, batch } = await place(name);
      const { failing } = await descriptors();
      const store = Store.open("/data/keyvalue.cairn", OPTIONS);
      const bucket = buckets.open("b");
      const cas = atomics.Cas.new(bucket, "k4");
      const scan = (/** @type {string} */ prefix) => store.scan({ ...EVERYTHING, prefix: bytes(prefix) }).next(3);
      const calls = [
        () => store.get(bytes("b\0k0")),
        () => scan("b\0k5"),
        () => scan("b\0huge"),
        () => bucket.get("k1"),
        () => atomics.increment(bucket, "k2", 1n),
        () => cas.current(),
        () => batch.getMany(bucket, ["k3", "k6"]),
      ];
      const restore = failing("read", "io");
      const failures = calls.map(failureOf);
      restore();
      const result = { failed: failures.map(nameOf), placed: failures[0].deviceOffset, after: namesOf(calls) };
      store.close();
      return result;
    },

    /**
     * Writes that fail with `error`, in each call that writes: what it says, what the calls after it say, what they say once the
     * device works again, and what the next opening finds.
     */
    async failingWrites(_, { name, error }) {
      const { Store, buckets, atomics, batch } = await place(name);
      const { failing } = await descriptors();
      const path = "/data/keyvalue.cairn";
      const large = new Uint8Array(40 << 20).fill(7);
      const long = (/** @type {number} */ i) => `${i}`.padStart(2000, "0");
      const many = Array.from({ length: 9000 }, (_, i) => long(i));
      const results = [];
      for (const kind of [
        "set",
        "delete",
        "increment",
        "swap",
        "setMany",
        "deleteMany",
        "putDurable",
        "deleteDurable",
      ]) {
        results.push(await life(kind, "interval"));
      }
      for (const kind of ["flush", "large", "largeBatch", "manyDeleted"]) results.push(await life(kind, "manual"));
      return results;

      /**
       * @param {string} kind
       * @param {string} durability
       */
      async function life(kind, durability) {
        const store = Store.open(path, { ...OPTIONS, durability });
        const bucket = buckets.open("b");
        bucket.set("old", bytes("there"));
        bucket.set("n", bytes("5"));
        if (kind === "manyDeleted") {
          batch.setMany(
            bucket,
            many.map((key) => [key, bytes("")]),
          );
        }
        const cas = atomics.Cas.new(bucket, "n");
        /** @type {Record<string, () => unknown>} */
        const calls = {
          set: () => bucket.set("k", bytes("new")),
          delete: () => bucket.delete("old"),
          increment: () => atomics.increment(bucket, "n", 1n),
          swap: () => atomics.swap(cas, bytes("6")),
          setMany: () => batch.setMany(bucket, [["k", bytes("new")]]),
          deleteMany: () => batch.deleteMany(bucket, ["old"]),
          putDurable: () => store.putDurable(bytes("b\0k"), bytes("new")),
          deleteDurable: () => store.deleteDurable(bytes("b\0old")),
          flush: () => {
            store.set(bytes("b\0k"), bytes("new"));
            store.flush();
          },
          large: () => store.putDurable(bytes("large"), large),
          largeBatch: () =>
            batch.setMany(
              bucket,
              ["a", "b", "c", "d"].map((key) => [key, large.subarray(0, 8 << 20)]),
            ),
          manyDeleted: () => batch.deleteMany(bucket, many),
        };
        const restore = failing("write", error);
        const said = nameOf(failureOf(/** @type {() => unknown} */ (calls[kind])));
        const other = atomics.Cas.new;
        const later = namesOf([
          () => bucket.get("n"),
          () => bucket.exists("n"),
          () => bucket.listKeys(undefined),
          () => batch.getMany(bucket, ["n"]),
          () => batch.setMany(bucket, [["k", bytes("x")]]),
          () => bucket.delete("absent"),
          () => (kind === "swap" ? other(bucket, "n") : cas.current()),
          () => (kind === "swap" ? bucket.get("n") : atomics.swap(cas, bytes("7"))),
        ]);
        restore();
        const after = namesOf([
          () => bucket.delete("old"),
          () => batch.setMany(bucket, [["k", bytes("again")]]),
          () => bucket.set("k", bytes("again")),
        ]);
        const close = nameOf(failureOf(() => store.close()));
        const next = Store.open(path, OPTIONS);
        const n = text(next.get(bytes("b\0n")));
        next.close();
        return { kind, said, later, after, close, n };
      }
    },

    /** A WASI whose writes have no quota left, take nothing, or say that they took more than there was. */
    async oddWrites(_, { name }) {
      const { Store } = await place(name);
      const { replace } = await descriptors();
      const said = [];
      for (const answer of ["quota", 0n, 1n << 33n]) {
        const store = Store.open("/data/x.cairn", OPTIONS);
        const restore = replace("write", () => () => {
          if (typeof answer === "string") throw answer;
          return answer;
        });
        said.push(nameOf(failureOf(() => store.putDurable(bytes("k"), bytes("v")))));
        restore();
        store.close();
      }
      return said;
    },

    /** Without room: writes that fill the buffer until they are refused; then deletions and batches, once there is room. */
    async heldForRoom(_, { name }) {
      const { Store, buckets, batch } = await place(name);
      const { failing } = await descriptors();
      const path = "/data/keyvalue.cairn";
      const store = Store.open(path, OPTIONS);
      const bucket = buckets.open("b");
      bucket.set("old", bytes("there"));
      bucket.set("older", bytes("there"));
      const value = new Uint8Array(2000).fill(7);
      const fill = () => {
        const restore = failing("write", "insufficient-space");
        let count = 0;
        let refused = null;
        for (; count < 64 && refused === null; count++) {
          // So long after the first one that the second has a flush follow.
          if (count === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
          refused = nameOf(failureOf(() => store.set(bytes(`large ${count}`), value)));
        }
        return { count, refused, restore };
      };
      const first = fill();
      first.restore();
      const deleted = store.delete(bytes("b\0old"));
      const second = fill();
      second.restore();
      batch.setMany(bucket, [["k", bytes("new")]]);
      const third = fill();
      third.restore();
      store.set(bytes("b\0l"), bytes("new"));
      store.close();
      const next = Store.open(path, OPTIONS);
      const found = ["b\0old", "b\0older", "b\0k", "b\0l"].map((key) => text(next.get(bytes(key))));
      next.close();
      return {
        counts: [first.count, second.count, third.count].map((count) => count > 1),
        refused: first.refused,
        deleted,
        found,
      };
    },

    /** What compaction meets within a call: writes over and over, with a device that fails from some write on. */
    async failingCompaction(_, { name, first, stride, count }) {
      const { Store } = await place(name);
      const { replace } = await descriptors();
      const said = [];
      for (let at = first, lives = 0; lives < count; lives++, at += stride) {
        const path = `/data/${lives}.cairn`;
        const store = Store.open(path, OPTIONS);
        for (let i = 0; i < 1500; i++) store.set(bytes(`key ${i}`), new Uint8Array(4000).fill(i));
        store.flush();
        let writes = 0;
        const restore = replace(
          "write",
          (original) =>
            function (...given) {
              if (writes++ >= at) throw "io";
              return original.apply(this, given);
            },
        );
        let failure = null;
        for (let i = 0; failure === null && i < 20_000; i++) {
          failure = failureOf(() => store.set(bytes(`key ${(i * 7) % 1500}`), new Uint8Array(4000).fill(i)));
        }
        restore();
        store.close();
        const next = Store.open(path, OPTIONS);
        said.push([nameOf(failure), Number(next.count(EVERYTHING))]);
        next.close();
        rmSync(`${folder}/${name}/${lives}.cairn`);
      }
      return said;
    },

    /** Opens the bucket store of some folders of which each has something wrong, and what `Store` says of the same. */
    async wrongStores(_, names) {
      const said = [];
      for (const name of names) {
        const { Store, buckets } = await place(name);
        const [bucket, store] = namesOf([
          () => buckets.open("b"),
          () => Store.open("/data/keyvalue.cairn", { ...OPTIONS, readOnly: true }),
        ]);
        said.push([bucket, store]);
      }
      return said;
    },

    /** Handles until there are no more, of each kind; buckets of a store that is closed, read-only, or fenced. */
    async handles(_, { name }) {
      const { path, Store, buckets, atomics } = await place(name);
      const store = Store.open("/data/keyvalue.cairn", OPTIONS);
      const bucket = buckets.open("b");
      bucket.set("k", bytes("1"));
      const until = (/** @type {() => unknown} */ make) => {
        /** @type {any[]} */
        const made = [];
        for (;;) {
          const failure = failureOf(() => made.push(make()));
          if (failure !== null) return { made, count: made.length, said: failure };
        }
      };
      const swaps = until(() => atomics.Cas.new(bucket, "k"));
      bucket.set("k", bytes("2"));
      const swapped = nameOf(failureOf(() => atomics.swap(swaps.made[0], bytes("3"))));
      const open = until(() => buckets.open("b"));
      const cursors = until(() => store.scan(EVERYTHING));
      const stale = cursors.made[0];
      store.close();
      const closed = namesOf([() => bucket.get("k"), () => bucket.listKeys(undefined), () => swaps.made[1].current()]);
      const reader = Store.open("/data/keyvalue.cairn", { ...OPTIONS, readOnly: true });
      for (const each of open.made) each[Symbol.dispose]();
      const readable = buckets.open("b");
      const readOnly = namesOf([() => readable.set("k", bytes("3")), () => readable.delete("k")]);
      // A cursor of an earlier opening is dropped while another store is open.
      stale[Symbol.dispose]();
      reader.close();
      reader[Symbol.dispose]();

      const holder = Store.open("/data/keyvalue.cairn", OPTIONS);
      const held = buckets.open("b");
      const then = new Date(Date.now() - 60_000);
      utimesSync(`${path}/keyvalue.cairn.lock`, then, then);
      const taker = interfacesOf(await instantiate({ "/data": path }));
      const taken = taker.Store.open("/data/keyvalue.cairn", OPTIONS);
      taken.putDurable(bytes("taken"), bytes("over"));
      const fenced = namesOf([() => held.set("k", bytes("4")), () => held.get("k")]);
      taken.close();
      holder.close();
      return {
        counts: [swaps, open, cursors].map(({ count }) => count),
        said: [swaps.said.val, open.said.val, cursors.said.message],
        swapped,
        closed,
        readOnly,
        fenced,
      };
    },

    /** Calls whose arguments or results leave no room for more, and one whose arguments do not fit. */
    async fullArena(_, { name }) {
      const { Store, buckets, atomics, batch } = await place(name);
      const store = Store.open("/data/keyvalue.cairn", OPTIONS);
      const bucket = buckets.open("b");
      const value = new Uint8Array(60 << 20).fill(1);
      bucket.set("large", value);
      const giant = new Uint8Array(ARENA_SIZE - 64);
      const failures = [
        () => batch.getMany(bucket, ["large", "large", "large", "large"]),
        () => store.has(giant),
        () => store.scan({ ...EVERYTHING, prefix: new Uint8Array(ARENA_SIZE - 8) }),
        () => bucket.set("k", new Uint8Array(ARENA_SIZE - 8)),
        () => batch.setMany(bucket, [["k", giant.subarray(100)]]),
        () => batch.setMany(bucket, [["k", giant.subarray(0, ARENA_SIZE - 2000)]]),
      ].map(failureOf);
      const text_ = "k".repeat(ARENA_SIZE - 16);
      failures.push(failureOf(() => batch.getMany(bucket, [text_])));
      failures.push(failureOf(() => batch.deleteMany(bucket, [text_])));
      failures.push(failureOf(() => batch.getMany(bucket, [text_.slice(64)])));
      let trapped = "";
      try {
        store.has(new Uint8Array(ARENA_SIZE + 1));
      } catch (error) {
        trapped = String(error);
      }
      const after = [
        text(bucket.get("large"))?.length,
        nameOf(failureOf(() => atomics.increment(bucket, "large", 1n))),
      ];
      return { said: failures.map(nameOf), messages: [failures[1].message, failures[6].val], trapped, after };
    },

    /** Opening beside somebody who changes the lock between two of its calls: what comes of it, and what is left. */
    async lockRaces(_, { name, kind }) {
      const { path, Store } = await place(name);
      const { replace } = await descriptors();
      const lock = `${path}/x.cairn.lock`;
      const token = (/** @type {string} */ digit) => digit.repeat(32);
      const held = (/** @type {string} */ digit) =>
        `{"cairnLock":1,"pid":1,"token":"${token(digit)}","heartbeatMs":2000}\n`;
      const put = (/** @type {string} */ content, ageMs = 0) => {
        writeFileSync(lock, content);
        const then = new Date(Date.now() - ageMs);
        utimesSync(lock, then, then);
      };
      let looks = 0;
      let makes = 0;
      /** @type {Record<string, { begin?: () => void, look?: () => void, make?: () => void, claim?: () => void, rename?: () => void, write?: () => void, read?: () => void }>} */
      const kinds = {
        // Gone when it is looked at, once, and each time.
        gone: { begin: () => put(held("a")), look: () => looks === 1 && rmSync(lock) },
        always: { make: () => put(held("a")), look: () => rmSync(lock, { force: true }) },
        // What becomes of it while it is watched.
        ends: { begin: () => put(held("a"), 60_000), look: () => looks === 3 && rmSync(lock) },
        torn: { begin: () => put(held("a"), 60_000), look: () => looks === 3 && put("{", 60_000) },
        other: { begin: () => put(held("a"), 60_000), look: () => looks === 3 && put(held("b"), 60_000) },
        future: { begin: () => put(held("a"), -60_000), look: () => looks === 3 && put(held("a")) },
        // What becomes of it while it is taken over.
        claimed: { begin: () => put(held("a"), 60_000), claim: () => writeFileSync(`${lock}.${token("a")}.claim`, "") },
        full: {
          begin: () => put(held("a"), 60_000),
          claim: () => {
            throw "insufficient-space";
          },
        },
        slow: { begin: () => put(held("a"), 60_000), claim: () => rmSync(lock) },
        unnamed: {
          begin: () => put(held("a"), 60_000),
          rename: () => {
            rmSync(lock);
            throw "io";
          },
        },
        // What is no lock.
        folder: {
          begin: () => mkdirSync(lock),
          read: () => {
            throw "is-directory";
          },
        },
        hex: { begin: () => put(held("x")) },
        unwritten: {
          write: () => {
            throw "io";
          },
        },
      };
      const given = kinds[kind] ?? {};
      given.begin?.();
      const restores = [
        replace(
          "openAt",
          (original) =>
            function (flags, file, openFlags, access) {
              if (file.endsWith(".claim")) given.claim?.();
              if (file.endsWith(".lock") && openFlags.create) {
                makes++;
                given.make?.();
              } else if (file.endsWith(".lock")) {
                looks++;
                given.look?.();
              }
              return original.call(this, flags, file, openFlags, access);
            },
        ),
        replace(
          "read",
          (original) =>
            function (...read) {
              given.read?.();
              return original.apply(this, read);
            },
        ),
        replace(
          "renameAt",
          (original) =>
            function (...names) {
              given.rename?.();
              return original.apply(this, names);
            },
        ),
        replace(
          "write",
          (original) =>
            function (...written) {
              given.write?.();
              return original.apply(this, written);
            },
        ),
      ];
      /** @type {any} */
      let store;
      const said = nameOf(
        failureOf(() => {
          store = Store.open("/data/x.cairn", OPTIONS);
        }),
      );
      for (const restore of restores) restore();
      const ours = store !== undefined && readFileSync(lock, "utf8").includes("a WASI component");
      store?.close();
      return { said, makes, ours, left: existsSync(lock) };
    },

    /** What else an opening can meet: codes, in the order of the cases. */
    async openings(_, { name }) {
      const { path, Store } = await place(name);
      const { replace, failing } = await descriptors();
      const codes = [];
      const open = (/** @type {string} */ file, given = {}) => {
        codes.push(nameOf(failureOf(() => Store.open(file, { ...OPTIONS, ...given }).close())));
      };
      /** @type {(method: string, error: string, run: () => void) => void} */
      const during = (method, error, run) => {
        const restore = failing(method, error);
        run();
        restore();
      };
      mkdirSync(`${path}/inner`);
      writeFileSync(`${path}/blank`, new Uint8Array(8292));
      writeFileSync(`${path}/tail`, Buffer.concat([new Uint8Array(8192), bytes("tail")]));
      open("/data/inner", { readOnly: true });
      open("/data//");
      open("/data/blank", { readOnly: true });
      open("/data/blank");
      during("read", "io", () => open("/data/tail", { readOnly: true }));
      during("sync", "io", () => open("/data/new.cairn"));
      during("sync", "unsupported", () => open("/data/newer.cairn"));
      during("openAt", "not-permitted", () => open("/data/newer.cairn", { readOnly: true }));
      during("openAt", "not-permitted", () => open("/data/newer.cairn"));
      // A system that tells no times leaves the heartbeat unknown.
      writeFileSync(`${path}/newer.cairn.lock`, `{"cairnLock":1,"token":"${"a".repeat(32)}"}\n`);
      const restore = replace(
        "stat",
        (original) =>
          function () {
            return { ...original.call(this), dataModificationTimestamp: undefined };
          },
      );
      open("/data/newer.cairn");
      restore();
      const nameless = interfacesOf(await instantiate({ "": path }));
      codes.push(nameOf(failureOf(() => nameless.Store.open("nameless.cairn", OPTIONS).close())));
      return codes;
    },
  };
}
