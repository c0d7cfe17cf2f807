/**
 * `cairn-kv/s3`: versioned snapshots in a bucket of S3, or of what speaks its protocol.
 *
 * It takes `@aws-sdk/client-s3` 3, which the program installs, and loads it with the first call. That client retries what
 * failed for a moment, and finds credentials, region and endpoint where it always does, unless `config` names them.
 */
import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import { CairnError, Remote, type RemoteFile, type RemoteFiles } from "cairn-kv";

/** Options of `s3Remote`. */
export interface S3RemoteOptions {
  bucket: string;
  /** What the names of all objects begin with, such as `backups/app`. Default: nothing. */
  prefix?: string;
  /** A client of the program's own, which stays open. */
  client?: S3Client;
  /** Or what a client is made with. Default: five attempts for each request, everything else as the client finds it. */
  config?: S3ClientConfig;
}

type Sdk = typeof import("@aws-sdk/client-s3");

const ATTEMPT_COUNT = 5;

/** A remote in a bucket, which exists. Several stores, and several processes, may use one. */
export function s3Remote(options: S3RemoteOptions): Remote {
  const { bucket, prefix = "", client, config } = options;
  if (typeof bucket !== "string" || bucket === "") throw refuse("bucket must be the name of one.");
  if (typeof prefix !== "string") throw refuse("prefix must be a string.");
  if (client !== undefined && config !== undefined) throw refuse("pass a client or a config, not both.");
  return new Remote(new BucketFiles({ ...options, prefix: prefix.replace(/\/+$/, "") }));
}

class BucketFiles implements RemoteFiles {
  private readonly bucket: string;
  private readonly prefix: string;
  private readonly given: S3RemoteOptions;
  private loading: Promise<{ sdk: Sdk; client: S3Client }> | undefined;

  constructor(given: S3RemoteOptions & { prefix: string }) {
    this.given = given;
    this.bucket = given.bucket;
    this.prefix = given.prefix === "" ? "" : `${given.prefix}/`;
  }

  async read(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { sdk, client } = await this.load();
    try {
      const { Body } = await client.send(new sdk.GetObjectCommand(this.place(name)));
      return new Uint8Array((await Body?.transformToByteArray()) ?? []);
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw this.refusal(name, "read", cause);
    }
  }

  async write(name: string, bytes: Uint8Array, isNew = false): Promise<boolean> {
    const { sdk, client } = await this.load();
    // Not every server that speaks S3 knows the condition, and those that do not ignore it.
    if (isNew && (await this.has(name))) return false;
    const condition = isNew ? { IfNoneMatch: "*" } : {};
    try {
      await client.send(new sdk.PutObjectCommand({ ...this.place(name), Body: bytes, ...condition }));
      return true;
    } catch (cause) {
      const status = statusOf(cause);
      if (isNew && (status === 412 || status === 409)) return false;
      throw this.refusal(name, "write", cause);
    }
  }

  async has(name: string): Promise<boolean> {
    const { sdk, client } = await this.load();
    try {
      await client.send(new sdk.HeadObjectCommand(this.place(name)));
      return true;
    } catch (cause) {
      if (isMissing(cause)) return false;
      throw this.refusal(name, "read", cause);
    }
  }

  async *list(prefix: string): AsyncGenerator<RemoteFile> {
    const { sdk, client } = await this.load();
    let token: string | undefined;
    do {
      const next = token === undefined ? {} : { ContinuationToken: token };
      const asked = { Bucket: this.bucket, Prefix: this.prefix + prefix, ...next };
      const page = await client.send(new sdk.ListObjectsV2Command(asked)).catch((cause) => {
        throw this.refusal(prefix, "read", cause);
      });
      for (const { Key = "", Size = 0, LastModified } of page.Contents ?? []) {
        yield { name: Key.slice(this.prefix.length), size: Size, modifiedMs: LastModified?.getTime() ?? 0 };
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async remove(name: string): Promise<void> {
    const { sdk, client } = await this.load();
    try {
      await client.send(new sdk.DeleteObjectCommand(this.place(name)));
    } catch (cause) {
      if (!isMissing(cause)) throw this.refusal(name, "write", cause);
    }
  }

  private place(name: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: this.prefix + name };
  }

  private load(): Promise<{ sdk: Sdk; client: S3Client }> {
    this.loading ??= this.connect();
    return this.loading;
  }

  private async connect(): Promise<{ sdk: Sdk; client: S3Client }> {
    let sdk: Sdk;
    try {
      sdk = await import("@aws-sdk/client-s3");
    } catch (cause) {
      this.loading = undefined;
      const message = "s3Remote: @aws-sdk/client-s3 is not installed. Run: npm install @aws-sdk/client-s3";
      throw new CairnError("UNSUPPORTED", "remote", message, { cause });
    }
    const client = this.given.client ?? new sdk.S3Client({ maxAttempts: ATTEMPT_COUNT, ...this.given.config });
    return { sdk, client };
  }

  private refusal(name: string, access: "read" | "write", cause: unknown): CairnError {
    const what = access === "read" ? "read" : "written";
    const why = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    const message = `s3://${this.bucket}/${this.prefix}${name} cannot be ${what} (${why}). Check the bucket, the credentials and the network.`;
    return new CairnError(access === "read" ? "DEVICE_READ" : "DEVICE_WRITE", "remote", message, { cause });
  }
}

function statusOf(cause: unknown): number | undefined {
  return (cause as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;
}

/** A missing object, and not a missing bucket. */
function isMissing(cause: unknown): boolean {
  const name = (cause as Error | undefined)?.name;
  return name === "NoSuchKey" || name === "NotFound" || (statusOf(cause) === 404 && name !== "NoSuchBucket");
}

function refuse(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "s3Remote", `s3Remote: ${message}`);
}
