/** The files that snippets read: made-up certificates and keys. */
import { certificates } from "../../login/certificates.ts";

/** Returns a service account for a JSON file, a certificate for any other. */
export async function readFile(
  path: string | URL,
  _encoding: "utf8",
): Promise<string> {
  return String(path).endsWith(".json")
    ? await serviceAccount()
    : pem("CERTIFICATE", certificates.rsaSha256);
}

let account: Promise<string> | undefined;

function serviceAccount(): Promise<string> {
  return account ??= (async () => {
    const { privateKey } = await crypto.subtle.generateKey(
      {
        name: "RSASSA-PKCS1-v1_5",
        modulusLength: 2048,
        publicExponent: new Uint8Array([1, 0, 1]),
        hash: "SHA-256",
      },
      true,
      ["sign", "verify"],
    );
    const key = await crypto.subtle.exportKey("pkcs8", privateKey);
    return JSON.stringify({
      client_email: "media@example.iam.gserviceaccount.com",
      private_key: pem("PRIVATE KEY", new Uint8Array(key)),
    });
  })();
}

function pem(label: string, der: Uint8Array): string {
  const lines = der.toBase64().replace(/.{64}/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
