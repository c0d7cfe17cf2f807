/** `cairn keys`: who may use a server. Keys and fingerprints go to standard output, everything else to standard error. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import { Audit } from "../../server/access/audit.ts";
import { certificateId } from "../../server/access/credentials.ts";
import {
  addCertificate,
  addKey,
  type KeysChange,
  removeTenant,
  revoke,
  rotateKey,
  rotateTokens,
} from "../../server/access/keys-changes.ts";
import { changeKeysFile, readKeysFile } from "../../server/access/keys-file.ts";
import { BUILT_IN_ROLES, type GrantEntry, type KeyEntry } from "../../server/access/keys-format.ts";
import { addExamples } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, EXIT_NOT_FOUND, EXIT_OK } from "../failure.ts";
import { Output } from "../output.ts";

interface FileOptions {
  keys: string;
  audit?: string;
}

interface GrantOptions extends FileOptions {
  tenant: string;
  role: string;
  name?: string;
  expires?: string;
  namespace?: string;
  operator?: true;
  requestsPerSecond?: number;
}

const ROLES = `${Object.keys(BUILT_IN_ROLES).join(", ")}, or a role of the file`;
const GRACE_SECONDS_MAX = 31_536_000;

export function define(command: Command): void {
  grantOptions(command.command("add").summary("make an API key; it is printed once, and kept nowhere")).action(add);
  grantOptions(
    command
      .command("certificate")
      .summary("let a client certificate in")
      .argument("<certificate>", "a PEM file, or the SHA-256 of the certificate in hex"),
  ).action(certify);
  fileOptions(command.command("list").summary("list tenants, keys and certificates as NDJSON, without secrets"), {
    audit: false,
  }).action(list);
  fileOptions(
    command
      .command("revoke")
      .summary("end a key or certificate, and all connections and tokens that it made")
      .argument("<id>", "as list shows it"),
  ).action(end);
  fileOptions(
    command
      .command("rotate")
      .summary("give a key a new secret, which is printed once")
      .argument("[id]", "of the key, as list shows it")
      .option("--tokens", "a new secret for tokens instead: those that were made before end")
      .option("--grace <seconds>", "how long the old secret counts as well", graceOf, 0),
  ).action(rotate);
  fileOptions(
    command
      .command("remove-tenant")
      .summary("end a tenant with all its keys; its records stay in the store")
      .argument("<tenant>", "its name"),
  ).action(remove);
  addExamples(command, [
    "cairn keys add --keys keys.json --tenant acme --role admin > acme.key",
    "cairn keys add --keys keys.json --tenant acme --role reader --name dashboard --expires 2030-01-01",
    "cairn keys certificate client.crt --keys keys.json --tenant acme --role writer",
    "cairn keys list --keys keys.json",
    "cairn keys rotate k3f9x2m1a7qz --keys keys.json --grace 3600",
    "cairn keys revoke k3f9x2m1a7qz --keys keys.json",
  ]);
  command.addHelpText("after", "\nA running server takes the changed file within about a second.");
}

function fileOptions(command: Command, { audit = true } = {}): Command {
  command.helpOption("-h, --help", "print this help");
  command.requiredOption("--keys <file>", "the keys file");
  if (audit) command.option("--audit <file>", "add a line to this audit log, too");
  return command;
}

function grantOptions(command: Command): Command {
  return fileOptions(command)
    .requiredOption("--tenant <name>", "whose records it is for; a tenant that is missing is made")
    .requiredOption("--role <role>", ROLES)
    .option("--name <text>", "what it is for")
    .option("--expires <moment>", "when it ends, in ISO 8601: 2030-01-31 or 2030-01-31T12:00:00Z", momentOf)
    .option("--requests-per-second <count>", "a rate of its own, within its tenant's", rateOf)
    .option("--namespace <name>", "of a new tenant: the store's namespace; \"\" for the store's own keys")
    .option("--operator", "the tenant's admins may see to the store as a whole; the first tenant's may");
}

async function add(options: GrantOptions): Promise<void> {
  const change = await changeKeysFile(options.keys, (file) => addKey(file, options), { create: true });
  tellTenant(change, options);
  console.error(`key ${change.id}: ${change.role} of ${change.tenant}. It is shown this once.`);
  await audited(options, "key.added", change);
  await print([change.text]);
}

async function certify(certificate: string, options: GrantOptions): Promise<void> {
  const fingerprint = await fingerprintOf(certificate);
  const change = await changeKeysFile(options.keys, (file) => addCertificate(file, fingerprint, options), {
    create: true,
  });
  tellTenant(change, options);
  console.error(`certificate ${change.id}: ${change.role} of ${change.tenant}.`);
  await audited(options, "certificate.added", change);
  await print([change.fingerprint]);
}

async function list({ keys: path }: FileOptions): Promise<void> {
  const file = await readKeysFile(path);
  const tenants = Object.entries(file.tenants ?? {});
  const shown: object[] = tenants.map(([name, { namespace, operator, limits }]) => ({
    type: "tenant",
    tenant: name,
    namespace: namespace ?? name,
    operator: operator ?? tenants.length === 1,
    ...(limits === undefined ? {} : { limits }),
  }));
  for (const [id, entry] of Object.entries(file.keys ?? {})) shown.push({ type: "key", id, ...shownOf(entry) });
  for (const [fingerprint, entry] of Object.entries(file.certificates ?? {})) {
    shown.push({ type: "certificate", id: certificateId(fingerprint), fingerprint, ...shownOf(entry) });
  }
  await print(shown.map((line) => JSON.stringify(line)));
}

/** Picked one by one: what the file may come to hold is not printed by mistake. */
function shownOf(entry: GrantEntry | KeyEntry): object {
  const { tenant, role, name, created, expires, limits } = entry;
  const until = "previous" in entry ? entry.previous?.until : undefined;
  const isExpired = expires !== undefined && Date.parse(expires) <= Date.now();
  return {
    tenant,
    role,
    ...(name === undefined ? {} : { name }),
    ...(created === undefined ? {} : { created }),
    ...(expires === undefined ? {} : { expires, expired: isExpired }),
    ...(limits === undefined ? {} : { limits }),
    ...(until === undefined || Date.parse(until) <= Date.now() ? {} : { previousUntil: until }),
  };
}

async function end(id: string, options: FileOptions): Promise<void> {
  const gone = await changeKeysFile(options.keys, (file) => revoke(file, id));
  if (gone === undefined) return notFound(`no key or certificate ${id}`);
  console.error(`revoked ${id}: ${gone.role} of ${gone.tenant}.`);
  await audited(options, id.startsWith("cert-") ? "certificate.revoked" : "key.revoked", { id, ...pick(gone) });
}

async function rotate(id: string | undefined, options: FileOptions & { tokens?: true; grace: number }): Promise<void> {
  if ((id === undefined) === (options.tokens === undefined)) {
    throw new CommandFailure("name the id of a key, or say --tokens", EXIT_BAD_USE);
  }
  if (id === undefined) {
    await changeKeysFile(options.keys, (file) => rotateTokens(file, options.grace));
    console.error("tokens have a new secret.");
    await audited(options, "tokens.rotated", { grace: options.grace });
    return;
  }
  const rotated = await changeKeysFile(options.keys, (file) => rotateKey(file, id, options.grace));
  if (rotated === undefined) return notFound(`no key ${id}`);
  const old = options.grace > 0 ? `The old one counts for ${options.grace} s more` : "The old one counts no more";
  console.error(`key ${id} has a new secret, shown this once. ${old}.`);
  await audited(options, "key.rotated", { id, ...pick(rotated), grace: options.grace });
  await print([rotated.text]);
}

async function remove(tenant: string, options: FileOptions): Promise<void> {
  const removed = await changeKeysFile(options.keys, (file) => removeTenant(file, tenant));
  if (removed === undefined) return notFound(`no tenant ${tenant}`);
  console.error(`removed ${tenant} with ${removed.ids.length} keys and certificates.`);
  await audited(options, "tenant.removed", { tenant, keys: removed.ids });
}

function tellTenant({ tenant, isNewTenant, isOperator }: KeysChange, { role }: GrantOptions): void {
  if (isNewTenant) console.error(`tenant ${tenant} is new.`);
  if (isOperator && role === "admin") {
    console.error(`Admins of ${tenant} may see to the store as a whole: backups and statistics of all tenants.`);
  }
}

function pick({ tenant, role }: { tenant: string; role: string }): object {
  return { tenant, role };
}

async function audited({ audit: path }: FileOptions, event: string, told: object): Promise<void> {
  if (path === undefined) return;
  let failure: string | undefined;
  const audit = new Audit(path, (_level, message) => {
    failure = message;
  });
  const { id, tenant, role, keys, grace } = told as Record<string, unknown>;
  audit.record(event, { key: id, tenant, role, keys, grace, by: "cairn keys", user: userName() });
  await audit.close();
  if (failure !== undefined) console.error(`cairn: the change is made. ${failure}`);
}

function userName(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    return undefined;
  }
}

async function fingerprintOf(certificate: string): Promise<string> {
  if (/^([0-9A-Fa-f]{2}:?){32}$/.test(certificate)) return certificate;
  const pem = await readFile(certificate);
  try {
    return new X509Certificate(pem).fingerprint256;
  } catch (error) {
    throw new CommandFailure(`${certificate} holds no certificate: ${(error as Error).message}`);
  }
}

function momentOf(text: string): string {
  const ms = /^\d{4}-\d{2}-\d{2}(T|$)/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw new InvalidArgumentError("It must be in ISO 8601, as 2030-01-31T12:00:00Z.");
  if (ms <= Date.now()) throw new InvalidArgumentError("It must lie in the future.");
  return new Date(ms).toISOString();
}

function graceOf(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && Number.isInteger(seconds) && seconds >= 0 && seconds <= GRACE_SECONDS_MAX) return seconds;
  throw new InvalidArgumentError(`It must be a number of seconds from 0 to ${GRACE_SECONDS_MAX}.`);
}

function rateOf(text: string): number {
  const rate = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(rate) && rate >= 1) return rate;
  throw new InvalidArgumentError("It must be a whole number of at least 1.");
}

function notFound(message: string): void {
  console.error(`not found: ${message}`);
  process.exitCode = EXIT_NOT_FOUND;
}

async function print(lines: readonly string[]): Promise<void> {
  const output = new Output(process.stdout);
  for (const line of lines) output.write(`${line}\n`);
  await output.flush();
  process.exitCode = EXIT_OK;
}
