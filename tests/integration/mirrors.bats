#!/usr/bin/env bats
# Images by their public names, which a mirror has: what their config says about the user, names in several registries, a set-user-ID program.
# They are some of those that critest asks for (critest.sh).
load lib/cri.bash
load lib/mirrors.bash

setup_file() {
	use_mirrors user-uid user-username user-uid-group user-username-group group nnp pause test-tags
	crio_start
}
teardown_file() { suite_end; }
teardown() { remove_all_pods; for i in $(cri ListImages '{}' | jq -r '.images[]?.id'); do cri RemoveImage "{\"image\":{\"image\":\"$i\"}}" >/dev/null; done; }
status_of() { cri ImageStatus "{\"image\":{\"image\":\"$1\"}}" | jq -r ".image|$2"; }
# runs POD PODNAME NAME IMAGE [FILTER] [COMMAND]: what a container of the image says.
runs() {
	local c; c=$(run_ctr "$1" "$2" "$3" ".image.image=\"$4\"|del(.command)${6:+|.command=[\"sh\",\"-c\",\"$6\"]}|${5:-.}") || return
	wait_exit "$c" && cut -d' ' -f4- "$NODE/log/$2/$3.log"
}

@test "the user that an image names: by number or name, with a group or without" {
	p=$(run_pod m1); n=0
	while read -r name uid username ids; do
		i=$(staging "test-image-$name"); pull "$i" >/dev/null; n=$((n + 1))
		# A number is the status' uid, and no name is; that of the container is what /etc/passwd gives.
		[ "$(status_of "$i" '"\(.uid.value // "-") \(.username | if . == "" or . == null then "-" else . end)"')" = "$uid $username" ]
		[ "$(runs "$p" m1 "c$n" "$i" . 'echo $(id -u):$(id -g):$(id -G)')" = "$ids" ]
	done <<-E
	user-uid 1002 - 1002:0:0
	user-username - www-data 33:33:33
	user-uid-group 1003 - 1003:1004:1004
	user-username-group - www-data 33:1004:1004
	E
}

@test "groups that the image's /etc/group gives its user: merged with those of the request, or not" {
	i=$(staging test-image-predefined-group); pull "$i" >/dev/null; p=$(run_pod m2)
	[ "$(runs "$p" m2 image "$i" . 'id -u; id -g; id -G' | xargs)" = "1000 1000 1000 50000" ]
	for policy in 0 1; do
		f=".linux.security_context+={run_as_user:{value:1000},supplemental_groups:[1234],supplemental_groups_policy:$policy}"
		c=$(run_ctr "$p" m2 "p$policy" ".image.image=\"$i\"|$f")
		want='1000 1234 50000'; [ $policy = 0 ] || want='1000 1234'
		[ "$(exec_ctr "$c" id -G)" = "$want" ]
		[ "$(ctr_field "$c" 'user.linux|[.uid,.gid]+(.supplemental_groups|sort_by(tonumber))|map(tonumber)|join(" ")')" = "1000 1000 $want" ]
		stop_ctr "$c"
	done
}

@test "a set-user-ID program: root, and with no_new_privs who it was" {
	i=registry.k8s.io/e2e-test-images/nonewprivs:1.3; pull "$i" >/dev/null
	for r in crun runc; do
		p=$(run_pod "m3$r" . $r)
		f='.linux.security_context+={run_as_user:{value:1000}}'
		[ "$(runs "$p" "m3$r" may "$i" "$f")" = "Effective uid: 0" ]
		[ "$(runs "$p" "m3$r" maynot "$i" "$f|.linux.security_context.no_new_privs=true")" = "Effective uid: 1000" ]
	done
}

@test "one image by names in two registries, and by three tags: one id, every name, and its removal takes them all" {
	a=registry.k8s.io/pause:3.9 b=k8s.gcr.io/pause:3.9
	id=$(pull $a); [ "$(pull $b)" = "$id" ]
	[ "$(status_of $a '.repo_tags|sort|join(" ")')" = "$b $a" ]; [ "$(status_of $a '.repo_digests|map(sub("@.*";""))|sort|join(" ")')" = "k8s.gcr.io/pause registry.k8s.io/pause" ]
	# A container of it says one id, whichever name it was made by.
	p=$(run_pod m4); c=$(run_ctr "$p" m4 c ".image={image:\"$id\",user_specified_image:\"$b\"}|del(.command)")
	[ "$(ctr_field "$c" image_id)" = "$id" ]; [ "$(ctr_field "$c" image.image)" = $b ]
	stop_ctr "$c"; rm_ctr "$c"; rm_pod "$p"
	cri RemoveImage "{\"image\":{\"image\":\"$id\"}}" >/dev/null; [ "$(status_of $a .)$(status_of $b .)" = nullnull ]
	t=$(staging test-image-tags); for i in 1 2 3; do id=$(pull "$t:$i"); done
	[ "$(cri ListImages '{}' | jq -r '.images|map(select(.id=="'"$id"'").repo_tags|sort|join(" "))|.[]')" = "$t:1 $t:2 $t:3" ]
	cri RemoveImage "{\"image\":{\"image\":\"$id\"}}" >/dev/null
	[ "$(status_of "$t:1" .)$(status_of "$t:2" .)$(status_of "$t:3" .)" = nullnullnull ]
}
