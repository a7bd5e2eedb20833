# Stands for a server's machine: the argument is its folder. It leaves children of the kinds that HTCondor has.
folder=$1
rm -f "$folder/shut-down"
echo "guest of $folder"
cat "$folder/user_data"
echo
sleep 7001 &
setsid sleep 7002 &
setsid env -i PATH="$PATH" "_CONDOR_SCRATCH_DIR=$folder/execute/dir_1" sleep 7003 &
touch "$folder/booted"
until [ -e "$folder/shut-down" ]; do sleep 0.1; done
