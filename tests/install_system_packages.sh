#!/bin/sh
# Install the programs that the desktop tests drive. Never fails: tests that miss a program skip and say which.
packages="xvfb openbox xdotool xclip x11-xserver-utils x11-apps xauth dbus-x11 mousepad mate-calc
  xserver-xorg-core xserver-xorg-video-dummy tigervnc-standalone-server i3lock xsecurelock
  xterm nano geany xinput fcitx5 fcitx5-unikey fcitx5-frontend-gtk3 python3-pyqt5
  at-spi2-core gir1.2-atspi-2.0 gir1.2-gtk-3.0 python3-gi libatk-adaptor
  sway mutter pipewire wireplumber gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-pipewire
  xdg-desktop-portal xdg-desktop-portal-gnome dbus
  chromium chromium-driver dunst bubblewrap graphviz libegl1 libegl-mesa0 libgl1-mesa-dri libosmesa6"
missing=""
for program in Xvfb openbox xdotool xclip xrandr xcalc mousepad mate-calc dbus-run-session chromium chromedriver \
  Xorg Xtigervnc i3lock xsecurelock xterm nano geany xinput fcitx5 sway mutter pipewire wireplumber gst-launch-1.0 dunst bwrap dot; do
  command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
# Programs are read through it while their screens are recorded.
/usr/bin/python3 -c "import gi; gi.require_version('Atspi', '2.0')" >/dev/null 2>&1 || missing="$missing at-spi"
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "Not installed:$missing. This is not a Debian-like system; tests that need them are skipped."
elif [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
  echo "Not installed:$missing. Installing needs root: sudo apt-get install $packages. Tests that need them are skipped."
else
  as_root=""
  [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
  echo "Installing:$missing"
  export DEBIAN_FRONTEND=noninteractive
  { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends $packages; } >/dev/null 2>&1 ||
    echo "apt-get could not install them; tests that need them are skipped."
fi
exit 0
