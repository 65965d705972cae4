/** What programs say that were refused a right. */
const RIGHT_REFUSED = /\b(EACCES|EPERM|EROFS)\b|permission denied|operation not permitted|read-only file system/i;

/** Whether a container's last words speak of a missing right. */
export function speaksOfRights(lastWords: string): boolean {
  return RIGHT_REFUSED.test(lastWords);
}
