/** `@hpkv/zustand-multiplayer` against this server: stores of several clients that become the same, at each depth of keys. */
import { HPKVClientFactory, WebsocketTokenManager } from "@hpkv/websocket-client";
import { LogLevel, multiplayer, TokenHelper, type WithMultiplayer } from "@hpkv/zustand-multiplayer";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createStore, type StateCreator, type StoreApi } from "zustand/vanilla";
import { startServer, type TestServer } from "./hpkv-server.ts";

// As its suites do.
(globalThis as { WebSocket?: unknown }).WebSocket = undefined;

interface Todo {
  title: string;
  completed: boolean;
}

interface State {
  counter: number;
  title: string;
  nested: { value: number; inner: { value: number; deep: { value: number } } };
  todos: Record<string, Todo>;
  increment(): void;
  setTitle(title: string): void;
  setDeep(value: number): void;
  addTodo(id: string): void;
  complete(id: string): void;
  removeTodo(id: string): void;
}

const Z_FACTORS = [0, 1, 2, 3, 4];

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.close());

function makeStore(namespace: string, options: { zFactor?: number; sync?: (keyof State)[] } = {}): TestStore {
  const initializer = multiplayer<State>(
    (set) => ({
      counter: 0,
      title: "",
      nested: { value: 0, inner: { value: 0, deep: { value: 0 } } },
      todos: {},
      increment: () => set(({ counter }) => ({ counter: counter + 1 })),
      setTitle: (title) => set({ title }),
      setDeep: (value) => set(({ nested }) => ({ nested: { ...nested, inner: { ...nested.inner, deep: { value } } } })),
      addTodo: (id) => set(({ todos }) => ({ todos: { ...todos, [id]: { title: id, completed: false } } })),
      complete: (id) =>
        set(({ todos }) => ({ todos: { ...todos, [id]: { ...(todos[id] as Todo), completed: true } } })),
      removeTodo: (id) =>
        set(({ todos }) => {
          const { [id]: _, ...others } = todos;
          return { todos: others };
        }),
    }),
    { namespace, apiBaseUrl: server.url, apiKey: server.apiKey, logLevel: LogLevel.NONE, ...options },
  );
  // The package's types are of a laxer compiler, and know nothing of their own additions to a vanilla store.
  return createStore(initializer as unknown as StateCreator<WithMultiplayer<State>>) as unknown as TestStore;
}

interface TestStore extends StoreApi<WithMultiplayer<State>> {
  multiplayer: {
    reHydrate(): Promise<void>;
    clearStorage(): Promise<void>;
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    destroy(): Promise<void>;
  };
}

const stores: TestStore[] = [];
let namespaceCount = 0;

afterEach(async () => {
  for (const store of stores.splice(0)) {
    await store.multiplayer.disconnect();
    await store.multiplayer.destroy();
  }
});

/** Stores of several clients, connected and hydrated. */
async function clients(
  count: number,
  options: Parameters<typeof makeStore>[1] = {},
  namespace = freshNamespace(),
): Promise<TestStore[]> {
  const made = Array.from({ length: count }, () => makeStore(namespace, options));
  stores.push(...made);
  for (const store of made) await expect.poll(() => store.getState().multiplayer.hasHydrated).toBe(true);
  return made;
}

function freshNamespace(): string {
  return `ns-${namespaceCount++}`;
}

const dataOf = (store: TestStore) => {
  const { counter, title, nested, todos } = store.getState();
  return { counter, title, nested, todos };
};

/** What all of `of` become, and stay: nothing that is still on its way changes it. */
async function agree(of: TestStore[], expected: Partial<State>): Promise<void> {
  for (const store of of) await expect.poll(() => dataOf(store)).toMatchObject(expected);
}

function keysOf(namespace: string): string[] {
  return [...server.store.sub("acme").keys({ prefix: namespace })];
}

describe.each(Z_FACTORS)("with zFactor %i", (zFactor) => {
  test("changes of one client come to the others, as do members that it removes", async () => {
    const [one, two, three] = (await clients(3, { zFactor })) as [TestStore, TestStore, TestStore];
    const all = [one, two, three];
    one.getState().increment();
    two.getState().setTitle("hello");
    await agree(all, { counter: 1, title: "hello" });
    one.getState().setDeep(7);
    // What nobody has changed is never sent: a first difference may be all that is stored.
    for (const store of all) await expect.poll(() => store.getState().nested.inner.deep.value).toBe(7);
    for (const id of ["a.b", "c:d", "e%2Ef", "g"]) one.getState().addTodo(id);
    const todo = (id: string, completed = false) => [id, { title: id, completed }];
    const four = Object.fromEntries(["a.b", "c:d", "e%2Ef", "g"].map((id) => todo(id)));
    for (const store of all) await expect.poll(() => store.getState().todos).toEqual(four);
    two.getState().complete("g");
    const completed = { ...four, ...Object.fromEntries([todo("g", true)]) };
    for (const store of all) await expect.poll(() => store.getState().todos).toEqual(completed);
    three.getState().removeTodo("a.b");
    const { "a.b": _, ...left } = completed as Record<string, Todo>;
    for (const store of all) await expect.poll(() => store.getState().todos).toEqual(left);
    one.getState().removeTodo("g");
    const { g: __, ...last } = left;
    for (const store of all) await expect.poll(() => store.getState().todos).toEqual(last);
  });

  test("a client that comes later finds all of it, and nothing when it was cleared", async () => {
    const namespace = freshNamespace();
    const [one] = (await clients(1, { zFactor }, namespace)) as [TestStore];
    one.getState().increment();
    one.getState().setTitle("kept");
    one.getState().setDeep(3);
    one.getState().addTodo("x");
    one.getState().addTodo("y");
    one.getState().removeTodo("x");
    const expected = { counter: 1, title: "kept", todos: { y: { title: "y", completed: false } } };
    // All is stored when another client has been told of it.
    await expect
      .poll(async () => {
        const [late] = (await clients(1, { zFactor }, namespace)) as [TestStore];
        return dataOf(late);
      })
      .toMatchObject(expected);
    const [late] = (await clients(1, { zFactor }, namespace)) as [TestStore];
    expect(dataOf(late)).toMatchObject({ ...expected, nested: { inner: { deep: { value: 3 } } } });
    expect(keysOf(`${namespace}-${zFactor}:`).length).toBeGreaterThan(3);
    await one.multiplayer.clearStorage();
    expect(keysOf(`${namespace}-${zFactor}:`)).toEqual([]);
  });
});

test("keys are stored as they are sent, and namespaces are apart", async () => {
  const namespace = freshNamespace();
  const [one] = (await clients(1, { zFactor: 2 }, namespace)) as [TestStore];
  const [other] = (await clients(1, { zFactor: 2 })) as [TestStore];
  one.getState().addTodo("a.b");
  await expect.poll(() => keysOf(namespace)).toContain(`${namespace}-2:todos:a%2Eb:title`);
  await one.multiplayer.reHydrate();
  expect(one.getState().todos).toEqual({ "a.b": { title: "a.b", completed: false } });
  expect(other.getState().todos).toEqual({});
});

test("hydration reads more records than a page has, and clearing deletes them", async () => {
  const namespace = freshNamespace();
  const sub = server.store.sub("acme");
  const stored = (value: unknown) => JSON.stringify({ value, clientId: "x", timestamp: 1 });
  for (let i = 0; i < 350; i++) sub.set(`${namespace}-2:todos:t${i}:title`, stored(`title ${i}`));
  await sub.flush();
  const [store] = (await clients(1, { zFactor: 2 }, namespace)) as [TestStore];
  expect(Object.keys(store.getState().todos).length).toBe(350);
  expect(store.getState().todos["t349"]).toEqual({ title: "title 349" });
  await store.multiplayer.clearStorage();
  expect(keysOf(namespace)).toEqual([]);
});

test("fields that are not synchronised stay with their client", async () => {
  const [one, two] = (await clients(2, { sync: ["counter"] })) as [TestStore, TestStore];
  one.getState().setTitle("mine");
  one.getState().increment();
  await agree([two], { counter: 1 });
  expect(two.getState().title).toBe("");
  const [nothing] = (await clients(1, { sync: [] })) as [TestStore];
  nothing.getState().increment();
  expect(nothing.getState().counter).toBe(1);
});

test("a client that disconnects and connects again has what it missed", async () => {
  const [one, two] = (await clients(2)) as [TestStore, TestStore];
  await two.multiplayer.disconnect();
  one.getState().setTitle("meanwhile");
  const reader = HPKVClientFactory.createApiClient(server.apiKey, server.url);
  await reader.connect();
  await two.multiplayer.connect();
  await two.multiplayer.reHydrate();
  await expect
    .poll(async () => {
      await two.multiplayer.reHydrate();
      return two.getState().title;
    })
    .toBe("meanwhile");
  await reader.disconnect();
  reader.destroy();
});

test("tokens of the package's helper are for one namespace", async () => {
  const helper = new TokenHelper(server.apiKey, server.url);
  const { token } = await helper.processTokenRequest({
    namespace: "h-2",
    subscribedKeysAndPatterns: ["h-2:a", "h-2:a:*"],
  });
  const client = HPKVClientFactory.createSubscriptionClient(token, server.url);
  await client.connect();
  expect(await client.set("h-2:a:b", "1")).toMatchObject({ code: 200 });
  await expect(client.set("i-2:a:b", "1")).rejects.toMatchObject({ code: 403 });
  expect(await client.range("h-2:", "h-2:\u00ff")).toMatchObject({ count: 1 });
  await client.disconnect();
  client.destroy();
  await expect(
    new WebsocketTokenManager("x", server.url).generateToken({ subscribePatterns: [], accessPattern: "a" }),
  ).rejects.toThrow();
});
