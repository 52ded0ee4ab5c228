/** This platform as napi-rs names it, e.g. `linux-x64-gnu`. */
export function platformName() {
  const { platform, arch } = process;
  if (platform === 'linux') {
    // Node.js reports glibc's version where it runs on it; musl has none.
    const gnu = 'glibcVersionRuntime' in process.report.getReport().header;
    return `linux-${arch}-${gnu ? 'gnu' : 'musl'}`;
  }
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}
