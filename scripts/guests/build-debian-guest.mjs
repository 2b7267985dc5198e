// Builds the guest of the demo from Debian's packages: systemd, qemu-guest-agent, the kernel for clouds, and holdfast-proof, which
// writes trees with checksums from its first boot on. The disk boots by itself through SeaBIOS. Made once into .cache/guests/debian-STAMP/:
// root.qcow2, and for a boot without it vmlinuz, initrd and append (the kernel's command line).
// Usage: node scripts/guests/build-debian-guest.mjs; needs root (chroot, a loop device) and a mirror of Debian. Prints the folder.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const cache = join(root, '.cache/guests');
const sources = [fileURLToPath(import.meta.url), fileURLToPath(new URL('holdfast-proof', import.meta.url))];
const stamp = sources.reduce((hash, path) => hash.update(readFileSync(path)), createHash('sha256')).digest('hex').slice(0, 12);
const target = join(cache, `debian-${stamp}`);

const PACKAGES = ['systemd-sysv', 'dbus', 'udev', 'kmod', 'qemu-guest-agent', 'initramfs-tools', 'linux-image-cloud-amd64'];
const TOOLS = { debootstrap: 'debootstrap', extlinux: 'extlinux', 'qemu-img': 'qemu-utils', 'mkfs.ext4': 'e2fsprogs' };
const DISK_BYTES = 1200 << 20;
const LABEL = 'holdfast';
const APPEND = `root=LABEL=${LABEL} rw console=ttyS0 quiet mitigations=off tsc=reliable no_timer_check random.trust_cpu=on`;

function say(text) {
  console.error(`debian guest: ${text}`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

/** Runs a program in mounts of its own, which go with it. */
function run(command, args, what) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C', PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const { status, stdout, stderr, error } = spawnSync('unshare', ['--mount', command, ...args], { env, encoding: 'utf8', maxBuffer: 64 << 20, timeout: 900_000 });
  if (status === 0) return stdout;
  const words = (error?.message ?? `${stderr}${stdout}`).trim().split('\n').slice(-5).join('\n');
  throw new Error(`${what} failed: ${words}`);
}

/** The mirror that apt uses for this release, so that a proxy or a copy nearby is used here too. */
function mirror(codename) {
  const listed = run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(CODENAME) $(COMPONENT)', 'Created-By: Packages'], 'apt-get indextargets');
  const line = listed.split('\n').find((each) => each.endsWith(` ${codename} main`));
  return line?.split(' ')[0] ?? 'http://deb.debian.org/debian';
}

function installPackages(tree) {
  const { VERSION_CODENAME: codename } = Object.fromEntries(readFileSync('/etc/os-release', 'utf8').split('\n').map((line) => line.split('=')));
  const uri = mirror(codename);
  say(`debootstrap ${codename} from ${uri}`);
  run('debootstrap', ['--variant=minbase', codename, tree, uri], 'debootstrap');
  say(`packages: ${PACKAGES.join(' ')}`);
  writeFileSync(join(tree, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  mkdirSync(join(tree, 'etc/initramfs-tools/conf.d'), { recursive: true });
  const script = `mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && shift && exec chroot "$@"`;
  const inTree = (command, what) => run('sh', ['-ec', script, 'sh', tree, tree, ...command], what);
  inTree(['apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...PACKAGES], 'apt-get in the tree');
  // A short list of modules: an emulated processor unpacks slowly.
  writeFileSync(join(tree, 'etc/initramfs-tools/conf.d/modules'), 'MODULES=list\nCOMPRESS=zstd\n');
  writeFileSync(join(tree, 'etc/initramfs-tools/modules'), 'virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\next4\n');
  inTree(['update-initramfs', '-u'], 'update-initramfs');
  inTree(['apt-get', 'clean'], 'apt-get clean');
  inTree(['passwd', '-d', 'root'], 'passwd');
}

const UNIT = `[Unit]
Description=Trees with checksums: those that are there are checked, then more are written
After=local-fs.target
[Service]
ExecStartPre=-/bin/sh -c '/usr/local/sbin/holdfast-proof check >/run/holdfast-proof 2>&1; cat /run/holdfast-proof >/dev/ttyS0'
ExecStart=/usr/local/sbin/holdfast-proof write
[Install]
WantedBy=multi-user.target
`;

function configure(tree) {
  for (const name of ['var/lib/apt/lists', 'usr/share/doc', 'usr/share/man', 'usr/share/locale']) rmSync(join(tree, name), { recursive: true, force: true });
  mkdirSync(join(tree, 'var/lib/apt/lists/partial'), { recursive: true });
  rmSync(join(tree, 'usr/sbin/policy-rc.d'));
  writeFileSync(join(tree, 'etc/fstab'), `LABEL=${LABEL} / ext4 defaults 0 1\n`);
  writeFileSync(join(tree, 'etc/hostname'), 'holdfast-guest\n');
  mkdirSync(join(tree, 'srv/proof'), { recursive: true });
  const proof = join(tree, 'usr/local/sbin/holdfast-proof');
  copyFileSync(fileURLToPath(new URL('holdfast-proof', import.meta.url)), proof);
  chmodSync(proof, 0o755);
  writeFileSync(join(tree, 'etc/systemd/system/holdfast-proof.service'), UNIT);
  run('chroot', [tree, 'systemctl', '-q', 'enable', 'holdfast-proof.service'], 'systemctl enable');
  run('chroot', [tree, 'systemctl', '-q', 'mask', 'apt-daily.timer', 'apt-daily-upgrade.timer', 'e2scrub_all.timer'], 'systemctl mask');
  const files = { vmlinuz: 'vmlinuz-', initrd: 'initrd.img-' };
  mkdirSync(join(tree, 'boot/extlinux'));
  for (const [name, prefix] of Object.entries(files)) {
    const found = readdirSync(join(tree, 'boot')).find((each) => each.startsWith(prefix));
    if (found === undefined) throw new Error(`the packages left no ${prefix}* in /boot`);
    renameSync(join(tree, 'boot', found), join(tree, 'boot', name));
  }
  writeFileSync(join(tree, 'boot/extlinux/extlinux.conf'), `SERIAL 0 115200\nDEFAULT linux\nLABEL linux\n  KERNEL /boot/vmlinuz\n  INITRD /boot/initrd\n  APPEND ${APPEND}\n`);
}

/** The file system fills the whole disk; the loader lies in the first kilobyte, which ext4 leaves free. */
function makeDisk(work, tree) {
  const raw = join(work, 'root.raw');
  // extlinux reads neither checksums of metadata nor 64-bit block numbers.
  run('mkfs.ext4', ['-q', '-F', '-L', LABEL, '-O', '^metadata_csum,^64bit', '-d', tree, raw, `${DISK_BYTES >> 10}k`], 'mkfs.ext4');
  const mountPoint = join(work, 'mnt');
  mkdirSync(mountPoint);
  run('sh', ['-ec', 'mount -o loop "$1" "$2"; extlinux --install "$2/boot/extlinux"; umount "$2"', 'sh', raw, mountPoint], 'extlinux');
  run('qemu-img', ['convert', '-O', 'qcow2', raw, join(work, 'made/root.qcow2')], 'qemu-img convert');
}

function build() {
  const missing = Object.keys(TOOLS).filter((tool) => !['/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((folder) => existsSync(join(folder, tool))));
  if (missing.length > 0) fail(`not installed: ${missing.join(' ')}. Type: apt-get install -y ${missing.map((tool) => TOOLS[tool]).join(' ')}`);
  if (process.getuid?.() !== 0) fail('building it needs root, for chroot and a loop device');
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'build-'));
  const started = performance.now();
  try {
    const tree = join(work, 'tree');
    const made = join(work, 'made');
    mkdirSync(made);
    installPackages(tree);
    configure(tree);
    makeDisk(work, tree);
    for (const name of ['vmlinuz', 'initrd']) copyFileSync(join(tree, 'boot', name), join(made, name));
    writeFileSync(join(made, 'append'), `${APPEND}\n`);
    if (!existsSync(target)) renameSync(made, target);
    const mib = Math.round(statSync(join(target, 'root.qcow2')).size / (1 << 20));
    say(`built in ${Math.round((performance.now() - started) / 1000)} s, root.qcow2 has ${mib} MiB`);
  } catch (error) {
    say(error.message);
    process.exitCode = 1;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (!existsSync(join(target, 'root.qcow2'))) build();
if (process.exitCode !== 1) console.log(target);
