/** Requests over real sockets: how they come, and what is no request. */
import { expect, test } from "vitest";
import { reply, responseOf } from "../../adapters/server/reply.ts";
import { delay, get, Raw, statusesOf } from "./raw.ts";
import { startWeb } from "./web.ts";

const echo = async (request: Request): Promise<Response> =>
  reply(200, `${request.method} ${new URL(request.url).pathname} ${await request.text()}`);

test("answers requests on one connection, as text, bytes and streams", async () => {
  const { url } = await started(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/bytes") return reply(200, new Uint8Array([1, 2, 255]), { "content-type": "application/x" });
    if (pathname === "/stream")
      return new Response(streamOf("one", "", "två"), { status: 201, headers: { "x-a": "b" } });
    if (pathname === "/sized") return new Response(streamOf("123456"), { headers: { "content-length": "6" } });
    if (pathname === "/none") return reply(204);
    return reply(200, `å${pathname}${request.headers.get("X-Own")}`, { "content-type": "text/plain" });
  });
  expect(await (await fetch(`${url}/x`, { headers: { "x-own": "1" } })).text()).toBe("å/x1");
  expect([...new Uint8Array(await (await fetch(`${url}/bytes`)).arrayBuffer())]).toEqual([1, 2, 255]);
  const streamed = await fetch(`${url}/stream`);
  expect([streamed.status, streamed.headers.get("x-a"), await streamed.text()]).toEqual([201, "b", "onetvå"]);
  const sized = await fetch(`${url}/sized`);
  expect([sized.headers.get("content-length"), await sized.text()]).toEqual(["6", "123456"]);
  const none = await fetch(`${url}/none`);
  expect([none.status, none.headers.get("content-length"), await none.text()]).toEqual([204, null, ""]);
  const head = await fetch(`${url}/x`, { method: "HEAD" });
  expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "8", ""]);
});

test("takes bodies by length and in chunks, however they are cut", async () => {
  const { port } = await started(echo);
  const sized = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world";
  const chunked =
    "PUT /b HTTP/1.1\r\nhost:x\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n";
  for (const size of [1, 3, 7, 1000]) {
    const client = await Raw.to(port);
    await client.writeInPieces(`${sized}${chunked}\r\n${get("/c", "connection: close\r\n")}`, size);
    const text = await client.end();
    expect(statusesOf(text), `in pieces of ${size}`).toEqual([200, 200, 200]);
    expect(text).toContain("POST /a hello world");
    expect(text).toContain("PUT /b hello world");
    expect(text).toContain("GET /c ");
  }
});

test("gives each request its own headers, though most are those of the one before", async () => {
  const { port } = await started(async (request) =>
    reply(200, `<${request.method} ${request.headers.get("x-a")} ${request.headers.get("x-b")}>`),
  );
  const client = await Raw.to(port);
  const requests = [
    ["GET", "x-a: 1\r\n", "1 null"],
    ["GET", "x-a: 1\r\n", "1 null"],
    ["GET", "x-a: 2\r\n", "2 null"],
    ["PUT", "x-a: 2\r\n", "2 null"],
    ["GET", "x-b: 2\r\n", "null 2"],
    ["GET", "x-a: 2\r\nx-b: 2\r\n", "2 2"],
    ["GET", "", "null null"],
    ["GET", `x-a: ${"y".repeat(3000)}\r\n`, `${"y".repeat(3000)} null`],
    ["GET", `x-a: ${"z".repeat(3000)}\r\n`, `${"z".repeat(3000)} null`],
    ["GET", "x-a: 1\r\n", "1 null"],
  ] as const;
  await client.writeInPieces(
    requests.map(([method, headers]) => `${method} /k HTTP/1.1\r\nhost: x\r\n${headers}\r\n`).join(""),
    97,
  );
  // The same headers mean something else by an older version: the connection ends after it.
  await client.writeInPieces("GET /k HTTP/1.0\r\nhost: x\r\nx-a: 1\r\n\r\n", 97);
  const text = await client.end();
  expect(statusesOf(text)).toEqual(new Array(requests.length + 1).fill(200));
  const answers = [...text.matchAll(/<([^>]*)>/g)].map(([, answer]) => answer);
  expect(answers).toEqual([...requests.map(([method, , answer]) => `${method} ${answer}`), "GET 1 null"]);
  expect(text.match(/connection: close/g)).toHaveLength(1);
});

test("gives a body's bytes, and no others, in every form; they stay what they are", async () => {
  const kept: Uint8Array[] = [];
  const { url } = await started(async (request) => {
    const form = new URL(request.url).pathname.slice(1);
    let bytes: Uint8Array;
    if (form === "arrayBuffer") bytes = new Uint8Array(await request.arrayBuffer());
    else if (form === "bytes") bytes = await (request as unknown as { bytes(): Promise<Uint8Array> }).bytes();
    else if (form === "blob") bytes = new Uint8Array(await (await request.blob()).arrayBuffer());
    else if (form === "json") return reply(200, JSON.stringify(await request.json()));
    else {
      const pieces: Uint8Array[] = [];
      for await (const piece of request.body as unknown as AsyncIterable<Uint8Array>) pieces.push(piece);
      bytes = Buffer.concat(pieces);
    }
    kept.push(bytes);
    expect(request.bodyUsed).toBe(true);
    await expect(request.text()).rejects.toThrow();
    return reply(200, bytes.slice());
  });
  const forms = ["arrayBuffer", "bytes", "blob", "body"];
  for (const size of [1, 300, 150_000]) {
    for (const form of forms) {
      const body = Buffer.alloc(size, form);
      const answer = await fetch(`${url}/${form}`, { method: "POST", body });
      expect(Buffer.from(await answer.arrayBuffer()).equals(body), `${size} bytes as ${form}`).toBe(true);
    }
  }
  // What came later on the same connections has changed nothing.
  kept.forEach((bytes, index) => {
    const form = forms[index % forms.length] as string;
    expect(Buffer.from(bytes).equals(Buffer.alloc(bytes.length, form))).toBe(true);
  });
  expect(await (await fetch(`${url}/json`, { method: "POST", body: '{"a":"ö"}' })).json()).toEqual({ a: "ö" });
});

test("answers pipelined requests in their order, though the first takes longest", async () => {
  const { port } = await started(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/0") await new Promise((resolve) => setTimeout(resolve, 50));
    return pathname === "/1" ? responseOf(reply(200, "<1>")) : reply(200, `<${pathname.slice(1)}>`);
  });
  const client = await Raw.to(port);
  client.write(
    Array.from({ length: 50 }, (_, index) => get(`/${index}`)).join("") + get("/end", "connection: close\r\n"),
  );
  const answers = [...(await client.end()).matchAll(/<(\w+)>/g)].map((match) => match[1]);
  expect(answers).toEqual([...Array.from({ length: 50 }, (_, index) => String(index)), "end"]);
});

test("answers a client that has sent all and says so", async () => {
  const { port } = await started(async (request) => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return echo(request);
  });
  const client = await Raw.to(port);
  client.write(get("/half"));
  client.socket.end();
  expect(await client.end()).toContain("GET /half");
});

test.each([
  ["no request", "hello\r\n\r\n", 400],
  ["no version", "GET /\r\nHost: x\r\n\r\n", 400],
  ["HTTP/2", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505],
  ["a blank in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  ["a control character in the target", "GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  ["a target that is no path", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  ["a method that is none", "G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  ["no host", "GET / HTTP/1.1\r\n\r\n", 400],
  ["two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400],
  ["a host that is none", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400],
  ["a folded header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400],
  ["a blank before the colon", "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400],
  ["a header without a name", "GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400],
  ["a header without a colon", "GET / HTTP/1.1\r\nHost: x\r\nab\r\n\r\n", 400],
  ["a bare LF in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n", 400],
  ["a bare CR in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n", 400],
  ["NUL in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\0\r\n\r\n", 400],
  ["two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400],
  ["a length with a sign", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400],
  ["a length in a list", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na", 400],
  ["a length beyond numbers", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\na", 413],
  [
    "a length beside chunks",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    400,
  ],
  ["an encoding that is not known", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501],
  ["chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
  ["an expectation that is not known", "POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417],
  ["a chunk's size that is none", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400],
  ["a chunk's size with a sign", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400],
  ["a chunk's size that ends in LF", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n", 400],
  [
    "a chunk that is longer than it says",
    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    400,
  ],
  ["a head that is too large", `GET / HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(40_000)}\r\n\r\n`, 431],
  ["a head without an end", `GET / HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(40_000)}`, 431],
  ["too many headers", `GET / HTTP/1.1\r\nHost: x\r\n${"A: b\r\n".repeat(101)}\r\n`, 431],
  ["a target that is too long", `GET /${"a".repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 414],
])("refuses %s, and ends the connection", async (_what, request, status) => {
  let handled = 0;
  const { port } = await started(async (incoming) => {
    await incoming.text();
    handled++;
    return reply(200);
  });
  const client = await Raw.to(port);
  // What a second reader could take for a request is none.
  client.write(`${request}${get("/smuggled")}`);
  const text = await client.end();
  expect(statusesOf(text)).toEqual([status]);
  expect(text).toContain("connection: close");
  expect(text).toMatch(/"error":"/);
  expect(handled).toBe(0);
  const other = await Raw.to(port);
  other.write(get("/", "connection: close\r\n"));
  expect(statusesOf(await other.end())).toEqual([200]);
});

test("takes what clients send that is not quite a URL, and tells the handler one", async () => {
  const { port } = await started(async (request) => reply(200, `<${request.url}>`));
  const client = await Raw.to(port);
  client.write(Buffer.from(get("/record/ü|{x}?a=b%20c")));
  client.write("GET http://other:1/p?q HTTP/1.1\r\nHost: localhost\r\nconnection: close\r\n\r\n");
  const urls = [...(await client.end()).matchAll(/<(.*?)>/g)].map((match) => match[1]);
  expect(urls).toEqual(["http://localhost/record/%C3%BC%7C%7Bx%7D?a=b%20c", "http://localhost/p?q"]);
});

test("refuses a body over the limit by its length and by what comes, and lets streams be larger", async () => {
  const { port } = await started(
    async (request) => {
      if (request.url.endsWith("/stream")) {
        let size = 0;
        for await (const piece of request.body as unknown as AsyncIterable<Uint8Array>) size += piece.length;
        return reply(200, `<${size}>`);
      }
      try {
        return reply(200, `<${(await request.text()).length}>`);
      } catch (error) {
        return reply((error as { status: number }).status);
      }
    },
    { bodyBytes: 200_000 },
  );
  const head = (path: string, framing: string): string => `POST ${path} HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`;
  const chunk = `${(50_000).toString(16)}\r\n${"x".repeat(50_000)}\r\n`;
  const declared = await Raw.to(port);
  declared.write(head("/", "Content-Length: 200001"));
  expect(statusesOf(await declared.end())).toEqual([413]);
  const counted = await Raw.to(port);
  counted.write(head("/", "Transfer-Encoding: chunked") + chunk.repeat(5));
  expect(statusesOf(await counted.end())).toEqual([413]);
  const exact = await Raw.to(port);
  exact.write(`${head("/", "Transfer-Encoding: chunked\r\nConnection: close") + chunk.repeat(4)}0\r\n\r\n`);
  expect(await exact.end()).toContain("<200000>");
  const streamed = await Raw.to(port);
  streamed.write(`${head("/stream", "Transfer-Encoding: chunked\r\nConnection: close") + chunk.repeat(40)}0\r\n\r\n`);
  expect(await streamed.end()).toContain("<2000000>");
});

test("asks for a body that waits to be wanted, and not for one that nobody reads", async () => {
  const { port } = await started(async (request) =>
    request.url.endsWith("/read") ? reply(200, `<${await request.text()}>`) : reply(403),
  );
  const head = (path: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`;
  const client = await Raw.to(port);
  client.write(head("/read"));
  await client.until((text) => text.includes("100 Continue\r\n\r\n"));
  client.write("hello");
  expect(await client.until((text) => text.includes("<hello>"))).toContain("200 OK");
  client.destroy();
  const refused = await Raw.to(port);
  refused.write(head("/unread"));
  expect(statusesOf(await refused.end())).toEqual([403]);
});

test("ends the connection where an answer breaks off, and sends no header that would end it", async () => {
  const { port } = await started(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/header") return reply(200, "x", { "x-a": "b\r\nx-c: d" });
    if (pathname === "/throws") throw new Error("the inside");
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(Buffer.from("begun"));
      },
      pull() {
        throw new Error("the inside");
      },
    });
    return new Response(stream, pathname === "/short" ? { headers: { "content-length": "100" } } : {});
  });
  for (const path of ["/broken", "/short"]) {
    const client = await Raw.to(port);
    client.write(get(path));
    const text = await client.end();
    expect(text).toContain("begun");
    expect(text).not.toContain("\r\n0\r\n\r\n");
    expect(text).not.toContain("inside");
  }
  for (const path of ["/header", "/throws"]) {
    const client = await Raw.to(port);
    client.write(get(path, "connection: close\r\n"));
    const text = await client.end();
    expect(statusesOf(text)).toEqual([500]);
    expect(text).not.toMatch(/x-c|inside/);
  }
});

test("speaks HTTP/1.0", async () => {
  const { port } = await started(async () => new Response(streamOf("whole")));
  const client = await Raw.to(port);
  client.write("GET / HTTP/1.0\r\n\r\n");
  const text = await client.end();
  expect(text).toMatch(/connection: close\r\n\r\nwhole$/);
});

async function started(handle: (request: Request) => Promise<Response>, limits: { bodyBytes?: number } = {}) {
  const { port } = await startWeb({ handle, limits });
  return { port, url: `http://127.0.0.1:${port}` };
}

function streamOf(...texts: string[]): ReadableStream<Uint8Array> {
  const pieces = texts.map((text) => new TextEncoder().encode(text));
  return new ReadableStream({
    pull(controller) {
      const piece = pieces.shift();
      if (piece === undefined) controller.close();
      else controller.enqueue(piece);
    },
  });
}

test("takes nothing off a header's value but blanks: a bare CR, LF or another control character in it is 400", async () => {
  const seen: string[] = [];
  const server = await startWeb({
    handle: async (request) => {
      seen.push(`${request.method} ${new URL(request.url).pathname}`);
      return reply(200, await request.text());
    },
  });
  const lines = [
    "X: a\n",
    "X: a\n\nGET /smuggled HTTP/1.1",
    "X:\na",
    "X: a\r",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: chunked\x0c",
    "Transfer-Encoding:\nchunked",
    "Content-Length:\x0b3",
    "Content-Length: 3\x0c",
    "Connection: \x0bclose",
  ];
  for (const line of lines) {
    const raw = await Raw.to(server.port);
    raw.write(`POST /a HTTP/1.1\r\nHost: x\r\n${line}\r\n\r\n3\r\nabc\r\n0\r\n\r\n`);
    expect([line, statusesOf(await raw.end())]).toEqual([line, [400]]);
  }
  // Bytes that are no ASCII are the value's: this one is no coding that is known.
  const raw = await Raw.to(server.port);
  raw.write(Buffer.from("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\xa0chunked\r\n\r\n0\r\n\r\n", "latin1"));
  expect(statusesOf(await raw.end())).toEqual([501]);
  expect(seen).toEqual([]);
});

test("refuses hosts of which no URL can be made, so that no handler fails at one", async () => {
  const server = await startWeb({ handle: async (request) => reply(200, new URL(request.url).host) });
  for (const host of ["a:b:c", "%zz", "[", "[::1", "1.2.3.4.5.6", "x:99999", "a/b", "a@b", "a b"]) {
    const raw = await Raw.to(server.port);
    raw.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect([host, statusesOf(await raw.end())]).toEqual([host, [400]]);
  }
  for (const host of ["", "localhost", "[::1]:80", "a_b.example:1", "127.0.0.1:65535"]) {
    const raw = await Raw.to(server.port);
    raw.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect([host, statusesOf(await raw.end())]).toEqual([host, [200]]);
  }
});

test("takes a head of exactly the size that one may have, also where its end comes later", async () => {
  const server = await startWeb({ handle: async () => reply(200, "") });
  for (const [more, status] of [
    [0, 200],
    [1, 431],
  ] as const) {
    const start = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ";
    const head = `${start}${"l".repeat(32_768 - start.length + more)}\r\n\r\n`;
    for (const cut of [head.length, head.length - 1, head.length - 3]) {
      const raw = await Raw.to(server.port);
      raw.write(head.slice(0, cut));
      await delay(20);
      raw.write(head.slice(cut));
      expect([more, cut - head.length, statusesOf(await raw.end())]).toEqual([more, cut - head.length, [status]]);
    }
  }
});

test("a client that goes on sending gets the answer that refuses it", async () => {
  const server = await startWeb();
  for (let n = 0; n < 20; n++) {
    const raw = await Raw.to(server.port);
    const failed = new Promise((resolve) => raw.socket.once("error", resolve));
    raw.write("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n");
    for (let piece = 0; piece < 40; piece++) {
      raw.write(get("/more"));
      if (piece % 3 === 0) await delay(0);
    }
    expect(statusesOf(await raw.end())).toEqual([400]);
    expect(await Promise.race([failed, delay(1)])).toBeUndefined();
  }
});
