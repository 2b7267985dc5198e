// Descriptions in configuration files: one comment line for each line of text, percent-encoded as Proxmox does it.
const ENCODED_BYTES = /[^\x20-\x24\x26-\x39\x3b-\x7e]/g;

/** One line's text as it stands after the `#`: everything but printable ASCII, and `%` and `:`, is percent-encoded UTF-8. */
export function encodeLine(line: string): string {
  return Buffer.from(line, 'utf8').toString('latin1').replace(ENCODED_BYTES, encodeByte);
}

/** The text of such a line; what is not the encoding of some text is taken as it stands. */
export function decodeLine(encoded: string): string {
  return encoded.replace(/(?:%[0-9A-Fa-f]{2})+/g, (run) => {
    const decoded = Buffer.from(run.replaceAll('%', ''), 'hex');
    const text = decoded.toString('utf8');
    return Buffer.from(text, 'utf8').equals(decoded) ? text : run;
  });
}

function encodeByte(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}
