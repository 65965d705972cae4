/** Names of volumes on ACI: 5 to 63 characters without a double hyphen. */

/** The name on ACI of a pod's volume. */
export function volumeName(name: string): string {
  const plain = name.replace(/-{2,}/g, '-');
  return plain.length < 5 ? `${plain}-volume` : plain;
}
