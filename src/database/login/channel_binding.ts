/**
 * `tls-server-end-point` (RFC 5929): the hash of the certificate that the
 * server showed us. SCRAM signs it, so that a man in the middle with another
 * certificate can't relay our login.
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { LoginError } from "./login_error.ts";

/** Signature algorithms by their OIDs in DER; MD5 and SHA-1 are replaced. */
const hashes: Readonly<Record<string, string>> = {
  "2a864886f70d010104": "sha256", // md5WithRSAEncryption
  "2a864886f70d010105": "sha256", // sha1WithRSAEncryption
  "2a864886f70d01010b": "sha256", // sha256WithRSAEncryption
  "2a864886f70d01010c": "sha384", // sha384WithRSAEncryption
  "2a864886f70d01010d": "sha512", // sha512WithRSAEncryption
  "2a864886f70d01010e": "sha224", // sha224WithRSAEncryption
  "2a8648ce3d0401": "sha256", // ecdsa-with-SHA1
  "2a8648ce3d040301": "sha224", // ecdsa-with-SHA224
  "2a8648ce3d040302": "sha256", // ecdsa-with-SHA256
  "2a8648ce3d040303": "sha384", // ecdsa-with-SHA384
  "2a8648ce3d040304": "sha512", // ecdsa-with-SHA512
};

/** RSASSA-PSS names its hash in its parameters. */
const pss = "2a864886f70d01010a";
const pssHashes: Readonly<Record<string, string>> = {
  "2b0e03021a": "sha256", // sha1
  "608648016503040204": "sha224",
  "608648016503040201": "sha256",
  "608648016503040202": "sha384",
  "608648016503040203": "sha512",
};

/**
 * The binding data of a certificate in DER.
 *
 * @throws {LoginError} no hash is defined for the certificate, as with Ed25519.
 *   One is required, because the server that answers chooses the certificate.
 */
export function serverEndPoint(certificate: Uint8Array): Buffer {
  const hash = hashOf(certificate);
  if (hash === undefined) {
    throw new LoginError(
      "authentication_refused",
      "The server's certificate has a signature without channel " +
        "binding, such as Ed25519: give it another one, or set " +
        "channel_binding=disable",
    );
  }
  return createHash(hash).update(certificate).digest();
}

function hashOf(certificate: Uint8Array): string | undefined {
  // Certificate: { tbsCertificate, { algorithm, parameters }, signature }
  const whole = contentOf(certificate, sequence);
  const signed = whole && elementAt(whole, 0);
  const algorithm = signed && contentOf(whole.subarray(signed.end), sequence);
  const oid = algorithm && contentOf(algorithm, objectIdentifier);
  if (oid === undefined) return undefined;
  const name = hex(oid);
  if (name !== pss) return lookUp(hashes, name);
  // Parameters: { [0] { { hash } }, … }; without [0] the hash is SHA-1.
  const { end } = elementAt(algorithm!, 0)!;
  const parameters = contentOf(algorithm!.subarray(end), sequence);
  const first = parameters && contentOf(parameters, contextZero);
  if (first === undefined) return parameters && "sha256";
  const digest = contentOf(first, sequence);
  const digestOid = digest && contentOf(digest, objectIdentifier);
  return digestOid && lookUp(pssHashes, hex(digestOid));
}

const sequence = 0x30;
const objectIdentifier = 0x06;
const contextZero = 0xa0;

/** The content of the first DER element, if it has this tag. */
function contentOf(bytes: Uint8Array, tag: number): Uint8Array | undefined {
  if (bytes[0] !== tag) return undefined;
  const element = elementAt(bytes, 0);
  return element && bytes.subarray(element.start, element.end);
}

/** The position of a DER element's content. */
function elementAt(
  bytes: Uint8Array,
  at: number,
): { start: number; end: number } | undefined {
  const short = bytes[at + 1];
  if (short === undefined) return undefined;
  let start = at + 2;
  let length = short;
  if (short >= 0x80) {
    const digits = short & 0x7f;
    if (digits < 1 || digits > 3) return undefined;
    length = 0;
    for (let i = 0; i < digits; i++) {
      length = length * 256 + (bytes[start++] ?? NaN);
    }
  }
  const end = start + length;
  // `end` is NaN if the bytes are too short.
  return end <= bytes.length ? { start, end } : undefined;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function lookUp(
  table: Readonly<Record<string, string>>,
  name: string,
): string | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
