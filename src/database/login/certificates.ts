/**
 * Certificates and keys for TLS, from PEM text or from files. Files are read
 * again for each connection, so that renewed ones are used.
 *
 * Errors name the option and never show its value: a key that lacks its first
 * line would be taken for a path, and shown.
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import type { SslOptions } from "../connection_target.ts";
import { LoginError } from "./login_error.ts";

/** The TLS options, with all files read. */
export interface TlsSettings extends Pick<SslOptions, "mode" | "negotiation"> {
  /** As PEM text. */
  readonly pem: { ca?: string; cert?: string; key?: string };
}

type Part = keyof TlsSettings["pem"];

/** The names in options and URLs. */
const names: Readonly<Record<Part, string>> = {
  ca: "ssl.ca (sslrootcert)",
  cert: "ssl.cert (sslcert)",
  key: "ssl.key (sslkey)",
};

/** A renewal may have replaced only one of two files for a moment. */
const renewalMs = 100;

/**
 * Reads the files that the options name.
 *
 * @throws {LoginError} `bad_certificate`: a file that can't be read, text that
 *   is not PEM, or a key that belongs to another certificate.
 */
export async function readTlsSettings(ssl: SslOptions): Promise<TlsSettings> {
  try {
    return await read(ssl);
  } catch (error) {
    if (![ssl.ca, ssl.cert, ssl.key].some(isPath)) throw error;
    await delay(renewalMs);
    return await read(ssl);
  }
}

function isPath(value: string | undefined): boolean {
  return value !== undefined && !value.includes("-----BEGIN ");
}

async function read(ssl: SslOptions): Promise<TlsSettings> {
  const { mode, negotiation } = ssl;
  const pem: TlsSettings["pem"] = {};
  for (const part of ["ca", "cert", "key"] as const) {
    const value = ssl[part];
    if (value === undefined) continue;
    pem[part] = isPath(value) ? await readPem(part, value) : value;
  }
  if (pem.ca !== undefined) certificatesOf("ca", pem.ca);
  if (pem.cert !== undefined || pem.key !== undefined) checkPair(pem);
  return { mode, ...(negotiation === undefined ? {} : { negotiation }), pem };
}

async function readPem(part: Part, path: string): Promise<string> {
  try {
    // Loaded only here, because it is slow to load and rarely needed.
    const { readFile } = process.getBuiltinModule("node:fs/promises");
    return await readFile(path, "utf8");
  } catch (error) {
    // Deno reports a denied read by the error's name.
    const { code, name } = error as Error & { code?: string };
    throw bad(
      part,
      `is not PEM text, and as a file it can't be read (${code ?? name})`,
    );
  }
}

function checkPair({ cert, key }: TlsSettings["pem"]): void {
  if (cert === undefined) throw bad("cert", "is needed with a key");
  if (key === undefined) throw bad("key", "is needed with a certificate");
  const [own] = certificatesOf("cert", cert);
  if (!own!.checkPrivateKey(keyOf(key))) {
    throw bad("key", "belongs to another certificate than ssl.cert");
  }
}

/** Reads every certificate, and needs one: a runtime may skip bad ones. */
function certificatesOf(part: Part, pem: string): X509Certificate[] {
  const blocks = pem.match(
    /-----BEGIN (TRUSTED )?CERTIFICATE-----[^-]*-----END \1?CERTIFICATE-----/g,
  ) ?? [];
  if (blocks.length === 0) throw bad(part, "holds no PEM certificate");
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    throw bad(part, "holds a certificate that can't be read");
  }
}

function keyOf(pem: string): ReturnType<typeof createPrivateKey> {
  // OpenSSL would ask for its passphrase at the terminal.
  if (/ENCRYPTED/.test(pem)) {
    throw bad("key", "is encrypted, which is not supported: decrypt it");
  }
  try {
    return createPrivateKey(pem);
  } catch {
    // The runtime's error may quote the key.
    throw bad("key", "holds no PEM private key that can be read");
  }
}

function bad(part: Part, problem: string): LoginError {
  return new LoginError("bad_certificate", `${names[part]} ${problem}`);
}
