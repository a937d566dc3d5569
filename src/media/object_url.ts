/** The address of an object, or of the bucket without a name. */
export function objectUrl(
  baseUrl: string,
  name: string,
  query: Record<string, string>,
): URL {
  const url = new URL(baseUrl);
  if (name !== "") {
    const path = name.split("/").map(encodeStrictly).join("/");
    url.pathname = `${url.pathname.replace(/\/$/, "")}/${path}`;
  }
  url.search = Object.entries(query)
    .map(([key, value]) => `${key}=${encodeStrictly(value)}`)
    .join("&");
  return url;
}

/** An address to which a path is added. */
export function withoutEndSlashes(text: string): string {
  // A pattern begins anew at every slash.
  let end = text.length;
  while (end > 0 && text[end - 1] === "/") end--;
  return text.slice(0, end);
}

/** As signatures have it: what encodeURIComponent leaves alone, too. */
function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
