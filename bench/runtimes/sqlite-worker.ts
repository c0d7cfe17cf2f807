/** SQLite on OPFS, in a worker: one transaction of all records, on the fastest of its file systems. */

/** What a worker is to write, in this order, under each key the same value. */
export interface WriteOrder {
  keys: string[];
  value: string;
}

/** Milliseconds, or what went wrong. */
export interface WriteAnswer {
  ms?: number;
  error?: string;
}

/** What is used of `@sqlite.org/sqlite-wasm`. */
interface Sqlite {
  installOpfsSAHPoolVfs(options: { clearOnInit: boolean }): Promise<{ OpfsSAHPoolDb: new (path: string) => Database }>;
}

interface Database {
  exec(sql: string): void;
  prepare(sql: string): { bind(values: string[]): { stepReset(): void }; finalize(): void };
  close(): void;
}

async function write({ keys, value }: WriteOrder): Promise<number> {
  const address = "/sqlite/index.mjs";
  const { default: initialize } = (await import(address)) as { default: () => Promise<Sqlite> };
  const sqlite = await initialize();
  const { OpfsSAHPoolDb } = await sqlite.installOpfsSAHPoolVfs({ clearOnInit: true });
  const database = new OpfsSAHPoolDb("/page.sqlite");
  database.exec("CREATE TABLE records (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID");
  const start = performance.now();
  database.exec("BEGIN");
  const statement = database.prepare("INSERT INTO records VALUES (?, ?)");
  for (const key of keys) statement.bind([key, value]).stepReset();
  statement.finalize();
  database.exec("COMMIT");
  const ms = performance.now() - start;
  database.close();
  return ms;
}

addEventListener("message", ({ data }: MessageEvent<WriteOrder>) => {
  write(data).then(
    (ms) => postMessage({ ms }),
    (error: unknown) => postMessage({ error: error instanceof Error ? error.message : String(error) }),
  );
});
