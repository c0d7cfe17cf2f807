/** Certificates for tests, made by `openssl`: an authority, and what it has signed. */
import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Certificate {
  cert: string;
  key: string;
  /** SHA-256 of the certificate, in hexadecimal digits. */
  fingerprint: string;
}

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}

function read(folder: string, name: string): Certificate {
  const cert = readFileSync(join(folder, `${name}.crt`), "utf8");
  const fingerprint = createHash("sha256").update(new X509Certificate(cert).raw).digest("hex");
  return { cert, key: readFileSync(join(folder, `${name}.key`), "utf8"), fingerprint };
}

/** Makes a key and a certificate that signs itself. */
export function authority(folder: string, name: string): Certificate {
  const out = ["-keyout", join(folder, `${name}.key`), "-out", join(folder, `${name}.crt`)];
  const of = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", `/CN=${name}`];
  openssl("req", "-x509", ...of, ...out);
  return read(folder, name);
}

/** Makes a key, and a certificate for it that the authority `by` in the same folder has signed; for `localhost` and 127.0.0.1. */
export function signed(folder: string, name: string, by: string): Certificate {
  const path = (suffix: string): string => join(folder, `${name}.${suffix}`);
  const of = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", `/CN=${name}`];
  openssl(
    "req",
    ...of,
    "-keyout",
    path("key"),
    "-out",
    path("csr"),
    "-addext",
    "subjectAltName=DNS:localhost,IP:127.0.0.1",
  );
  const ca = ["-CA", join(folder, `${by}.crt`), "-CAkey", join(folder, `${by}.key`), "-CAcreateserial"];
  openssl("x509", "-req", "-in", path("csr"), ...ca, "-days", "30", "-copy_extensions", "copy", "-out", path("crt"));
  return read(folder, name);
}
