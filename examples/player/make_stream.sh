#!/bin/sh
# Makes stream/ anew: two minutes of a picture that counts seconds, as DASH and HLS over the same
# segments of two seconds. VP9, since every Chromium plays it. Needs Debian's package ffmpeg.
set -eu
cd "$(dirname "$0")"
rm -rf stream
mkdir stream
cd stream
ffmpeg -v error -f lavfi -i testsrc=size=160x90:rate=25:duration=120 \
    -c:v libvpx-vp9 -b:v 0 -crf 58 -deadline good -cpu-used 4 -threads 1 \
    -pix_fmt yuv420p -g 50 -keyint_min 50 -fflags +bitexact -flags:v +bitexact \
    -f dash -dash_segment_type mp4 -seg_duration 2 -use_template 1 -use_timeline 0 \
    -hls_playlist 1 -init_seg_name init.m4s -media_seg_name '$Number%03d$.m4s' film.mpd
mv master.m3u8 film.m3u8
# When it was made says nothing about the film.
sed -i '/PROGRAM-DATE-TIME/d' media_0.m3u8
